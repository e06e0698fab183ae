package testserver

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// s3Module is the object store that tests run, and its version: the gateway of
// S3's protocol to a directory.
const s3Module, s3Version = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"

// S3Server is a private object store that speaks S3's protocol.
type S3Server struct {
	*Process
	port int
	dir  string
}

// Credentials and region of every S3Server.
const (
	S3Key    = "testkey"
	S3Secret = "testsecret"
	S3Region = "us-east-1"
)

// S3 starts an object store that ends with the test. Its buckets are folders of
// Dir, its objects files in them.
func S3(t testing.TB) *S3Server {
	t.Helper()
	notShort(t)
	binary, err := s3Binary()
	if err != nil {
		Missing(t, "the object store versitygw", err)
	}
	s := &S3Server{port: reservePort(t), dir: t.TempDir()}
	root := filepath.Join(s.dir, "buckets")
	meta := filepath.Join(s.dir, "meta")
	for _, dir := range []string{root, meta} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.Process = &Process{
		name: "versitygw",
		argv: []string{binary, "--port", localAddr(s.port), "--access", S3Key, "--secret", S3Secret, "--region", S3Region,
			"--quiet", "posix", "--sidecar", meta, root},
		logPath: filepath.Join(s.dir, "server.log"),
		ready:   s.answers,
	}
	t.Cleanup(func() { s.cleanup(t) })
	if err := s.Start(); err != nil {
		t.Fatalf("start the object store: %v", err)
	}
	return s
}

// Addr is the server's address as host:port.
func (s *S3Server) Addr() string { return localAddr(s.port) }

// URL is the server's endpoint.
func (s *S3Server) URL() string { return "http://" + s.Addr() }

// Dir is where the buckets are.
func (s *S3Server) Dir() string { return filepath.Join(s.dir, "buckets") }

// Bucket makes a bucket and returns the folder with its objects.
func (s *S3Server) Bucket(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(s.Dir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// answers reports whether the server speaks; it refuses who has no signature.
func (s *S3Server) answers() error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(s.URL())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// s3Binary builds the object store, once.
func s3Binary() (string, error) {
	return cached("versitygw-"+s3Version, func(partial string) error {
		bin, err := os.MkdirTemp(filepath.Dir(partial), "versitygw")
		if err != nil {
			return err
		}
		defer os.RemoveAll(bin)
		build := exec.Command("go", "install", "-trimpath", s3Module+"@"+s3Version)
		build.Dir = bin // outside of any module
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=", "GOARCH=", "GOFLAGS=", "GOBIN="+bin)
		if out, err := build.CombinedOutput(); err != nil {
			return errors.Join(errMissing, fmt.Errorf("go install: %w: %s", err, out))
		}
		return os.Rename(filepath.Join(bin, "versitygw"), partial)
	})
}
