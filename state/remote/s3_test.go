package remote_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/state/remote"
)

// front stands before an object store and spoils requests.
type front struct {
	*httptest.Server
	requests atomic.Int64
	// spoil answers a request itself and returns true, or leaves it alone.
	spoil atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	seen  atomic.Pointer[func(*http.Request)]
}

func newFront(t *testing.T, to *testserver.S3Server) *front {
	t.Helper()
	target, err := url.Parse(to.URL())
	if err != nil {
		t.Fatal(err)
	}
	f := &front{}
	transport := &http.Transport{DisableKeepAlives: true}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // what the request's signature is of
	}, Transport: transport, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if seen := f.seen.Load(); seen != nil {
			(*seen)(r)
		}
		if spoil := f.spoil.Load(); spoil != nil && (*spoil)(w, r) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *front) set(spoil func(http.ResponseWriter, *http.Request) bool) {
	if spoil == nil {
		f.spoil.Store(nil)
		return
	}
	f.spoil.Store(&spoil)
}

// answer lets requests of a method fail as an object store says it.
func answer(method string, status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if method != "" && r.Method != method {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
		return true
	}
}

func bucket(t *testing.T, endpoint, name, secret string) *remote.S3 {
	t.Helper()
	b, err := remote.NewS3(remote.S3Config{
		URL: "s3://" + name + "/some/prefix?addressing=path&region=" + testserver.S3Region + "&endpoint=" + url.QueryEscape(endpoint),
		Key: testserver.S3Key, Secret: unit.NewSecret(secret)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestS3(t *testing.T) {
	server := testserver.S3(t)
	dir := server.Bucket(t, "backups")
	b := bucket(t, server.URL(), "backups", testserver.S3Secret)
	s := open(t, t.TempDir())
	st := copies(t, s, b, 1, 2, 3, 4, 5)
	if st.Code != "" || st.Checkpoints != 5 {
		t.Fatalf("status: %+v", st)
	}
	restored := t.TempDir()
	got, err := remote.Restore(t.Context(), b, restored)
	if err != nil || len(got.Skipped) > 0 || read(t, restored) != "pos-5" {
		t.Fatalf("restore: %+v, %v", got, err)
	}

	newest := filepath.Join(dir, "some/prefix", strings.TrimSuffix(st.Checkpoint, "/")+".manifest")
	text, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/3] ^= 1
	if err := os.WriteFile(newest, text, 0o600); err != nil {
		t.Fatal(err)
	}
	restored = t.TempDir()
	if got, err = remote.Restore(t.Context(), b, restored); err != nil || len(got.Skipped) != 1 || read(t, restored) != "pos-4" {
		t.Errorf("restore past a flipped bit: %+v, %v", got, err)
	}
}

// What is written once is not replaced, and the fault says so.
func TestS3WritesOnce(t *testing.T) {
	server := testserver.S3(t)
	server.Bucket(t, "backups")
	b := bucket(t, server.URL(), "backups", testserver.S3Secret)
	put := func(text string, once bool) error {
		return b.Put(t.Context(), "one", strings.NewReader(text), int64(len(text)), once)
	}
	if err := put("first", true); err != nil {
		t.Fatal(err)
	}
	if err := put("second", true); code(err) != remote.CodeTaken {
		t.Errorf("written twice: %v", err)
	}
	r, err := b.Get(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "first" {
		t.Errorf("it is %q, %v", text, err)
	}
}

// Everything that an object store does to those who use it: each has a cause that
// is named, the local state goes on, and what was good stays good.
func TestS3Faults(t *testing.T) {
	server := testserver.S3(t)
	server.Bucket(t, "backups")
	cutAfter := func(n int64) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || r.ContentLength < n {
				return false
			}
			_, _ = io.CopyN(io.Discard, r.Body, n)
			panic(http.ErrAbortHandler) // the connection breaks in the middle of the upload
		}
	}
	for name, c := range map[string]struct {
		secret string
		bucket string
		spoil  func(http.ResponseWriter, *http.Request) bool
		want   string
	}{
		"wrong credentials": {secret: "wrong", want: remote.CodeDenied},
		"no bucket":         {bucket: "nosuch", want: remote.CodeNoBucket},
		"may not write":     {spoil: answer(http.MethodPut, 403, "AccessDenied"), want: remote.CodeDenied},
		"full":              {spoil: answer(http.MethodPut, 507, "XMinioStorageFull"), want: remote.CodeFull},
		"over quota":        {spoil: answer(http.MethodPut, 403, "QuotaExceeded"), want: remote.CodeFull},
		"internal error":    {spoil: answer(http.MethodPut, 500, "InternalError"), want: remote.CodeUnreachable},
		"slow down":         {spoil: answer("", 503, "SlowDown"), want: remote.CodeUnreachable},
		"not S3 at all":     {spoil: answer("", 200, "html"), want: remote.CodeMissing},
		"cut uploads":       {spoil: cutAfter(100), want: remote.CodeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, server)
			if c.bucket == "" {
				c.bucket = strings.ToLower(strings.ReplaceAll(name, " ", "-"))
				server.Bucket(t, c.bucket)
			}
			if c.secret == "" {
				c.secret = testserver.S3Secret
			}
			s := open(t, t.TempDir())
			good := bucket(t, f.URL, c.bucket, testserver.S3Secret)
			if c.want != remote.CodeNoBucket {
				if st := copies(t, s, good, 1); st.Code != "" {
					t.Fatalf("before: %+v", st)
				}
			}
			f.set(c.spoil)
			write(t, s, 2)
			r := remote.New(remote.Config{Store: s, Bucket: bucket(t, f.URL, c.bucket, c.secret), Every: time.Hour})
			runOnce(r)
			st := r.Status()
			if st.Code != c.want || st.Hint == "" || st.Since.IsZero() || st.Pending != 0 {
				t.Fatalf("status: %+v, want the code %s", st, c.want)
			}
			write(t, s, 3) // nobody waits
			f.set(nil)
			if c.want == remote.CodeNoBucket {
				server.Bucket(t, c.bucket)
			}
			if c.secret == testserver.S3Secret {
				runOnce(r)
				if st = r.Status(); st.Code != "" {
					t.Errorf("when it is well again: %+v", st)
				}
			}
			want := "pos-3"
			if c.secret != testserver.S3Secret {
				want = "pos-1"
			}
			dir := t.TempDir()
			if got, err := remote.Restore(t.Context(), good, dir); err != nil || len(got.Skipped) > 0 || read(t, dir) != want {
				t.Errorf("restore: %+v, %v", got, err)
			}
		})
	}
}

// A store that is slow for ever holds up neither the local state nor the end.
func TestS3Stalls(t *testing.T) {
	server := testserver.S3(t)
	server.Bucket(t, "backups")
	f := newFront(t, server)
	release := make(chan struct{})
	defer close(release)
	f.set(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
	s := open(t, t.TempDir())
	r := remote.New(remote.Config{Store: s, Bucket: bucket(t, f.URL, "backups", testserver.S3Secret), Every: time.Millisecond})
	r.SetEnd(200 * time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	for n := range 100 {
		write(t, s, n)
	}
	for f.requests.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	cancel()
	<-done
	if took := time.Since(begun); took > 9*time.Second { // of ten without SetEnd
		t.Errorf("the end took %v", took)
	}
	if st := r.Status(); st.Code != remote.CodeUnreachable {
		t.Errorf("status: %+v", st)
	}
}

// Tencent COS is addressed by the host's name and has a header of its own for
// objects that must not be replaced.
func TestCOS(t *testing.T) {
	server := testserver.S3(t)
	server.Bucket(t, "backups")
	f := newFront(t, server)
	var mu sync.Mutex
	var hosts, forbids []string
	seen := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			hosts = append(hosts, r.Host)
			forbids = append(forbids, r.Header.Get("X-Cos-Forbid-Overwrite")+r.Header.Get("If-None-Match"))
		}
	}
	f.seen.Store(&seen)
	f.set(answer(http.MethodPut, 200, ""))
	b, err := remote.NewS3(remote.S3Config{URL: "s3://backups-1250000000/cdcd?region=ap-guangzhou&endpoint=" + url.QueryEscape("http://cos.ap-guangzhou.myqcloud.com"),
		Key: "k", Secret: unit.NewSecret("s")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	remote.DialInstead(b, f.Listener.Addr().String())
	for _, once := range []bool{false, true} {
		if err := b.Put(t.Context(), "a", strings.NewReader("x"), 1, once); err != nil {
			t.Fatal(err)
		}
	}
	f.set(answer(http.MethodPut, 409, "FileAlreadyExists"))
	if err := b.Put(t.Context(), "a", strings.NewReader("x"), 1, true); code(err) != remote.CodeTaken {
		t.Errorf("there already: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "backups-1250000000.cos.ap-guangzhou.myqcloud.com"; len(hosts) != 3 || hosts[0] != want || hosts[1] != want {
		t.Errorf("asked %v, want %s", hosts, want)
	}
	if len(forbids) != 3 || forbids[0] != "" || forbids[1] != "true" {
		t.Errorf("headers %q", forbids)
	}
}

func TestURLs(t *testing.T) {
	for text, ok := range map[string]bool{
		"s3://bucket": true, "s3://bucket/a/b": true,
		"s3://bucket?endpoint=https://cos.ap-guangzhou.myqcloud.com": true,
		"s3://bucket?endpoint=http://127.0.0.1:9000&addressing=path": true,
		"s3:///prefix": false, "http://bucket": false, "s3://bucket?endpoint=127.0.0.1": false, "s3://bucket?endpoint=https://h/path": false,
		"s3://bucket?region=x&regoin=y": false, "s3://bucket?addressing=both": false, "s3://b%zz": false,
	} {
		b, err := remote.NewS3(remote.S3Config{URL: text})
		if ok != (err == nil) || err != nil && (code(err) != remote.CodeURL || fault.Of(err).Hint == "") {
			t.Errorf("%s: %v", text, err)
		}
		if b != nil {
			b.Close()
		}
	}
}

func FuzzManifest(f *testing.F) {
	b := newMemory()
	f.Add([]byte("{}\n"), true)
	f.Add([]byte(`{"version":1,"epoch":1,"seq":1,"files":[{"name":"../x","size":1,"sha256":""}]}`), true)
	f.Fuzz(func(t *testing.T, text []byte, signed bool) {
		b.objects["0000000000000001/0000000000000001.manifest"] = remote.Signed(text, signed)
		dir := t.TempDir()
		if _, err := remote.Restore(t.Context(), b, filepath.Join(dir, "state")); err == nil {
			t.Fatal("restored from nothing")
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 1 {
			t.Errorf("wrote beside the directory: %v, %v", entries, err)
		}
	})
}
