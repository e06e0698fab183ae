package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

const (
	// stallTimeout is how long a request may take before the object store begins
	// to answer it, and requestTimeout how long all of it may take.
	stallTimeout   = 30 * time.Second
	requestTimeout = 5 * time.Minute
	// requestTries is how often a request is sent before its failure counts.
	requestTries = 3
)

// S3Config says where an S3 bucket is and who asks.
type S3Config struct {
	// URL is s3://bucket/prefix?endpoint=https://host&region=name&addressing=path.
	// Without an endpoint it is Amazon's. Addressing is virtual (the bucket is part
	// of the host's name: Amazon, Tencent COS) or path.
	URL string
	// Key and Secret are the credentials; without, they come from the environment
	// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), the file of the AWS tools, or the
	// machine's role.
	Key    string
	Secret unit.Secret
}

// S3 is a Bucket that speaks S3's protocol.
type S3 struct {
	client         *minio.Client
	bucket, prefix string
	forbid         *forbidOverwrite
	transport      *http.Transport
}

// NewS3 returns a Bucket; it talks to nobody yet. The error is CodeURL's.
func NewS3(c S3Config) (*S3, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return nil, badURL("want s3://bucket/prefix?endpoint=https://host")
	}
	endpoint, options, err := readURL(u)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: stallTimeout, ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost: 2, MaxConnsPerHost: 2, IdleConnTimeout: time.Minute, DisableCompression: true}
	s := &S3{bucket: u.Host, prefix: strings.Trim(u.Path, "/"), transport: transport}
	options.Transport, options.MaxRetries = transport, requestTries
	if isCOS(endpoint) {
		s.forbid = &forbidOverwrite{transport}
		options.Transport = s.forbid
	}
	options.Creds = credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{}})
	if c.Key != "" {
		options.Creds = credentials.NewStaticV4(c.Key, c.Secret.Reveal(), "")
	}
	if s.client, err = minio.New(endpoint, options); err != nil {
		return nil, badURL(err.Error())
	}
	return s, nil
}

// readURL returns the endpoint's host and the options that the URL names.
func readURL(u *url.URL) (host string, o *minio.Options, err error) {
	q := u.Query()
	for name := range q {
		switch name {
		case "endpoint", "region", "addressing":
		default:
			return "", nil, badURL("it has no option " + name + "; there are endpoint, region and addressing")
		}
	}
	endpoint := q.Get("endpoint")
	if endpoint == "" {
		endpoint = "https://s3.amazonaws.com"
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Host == "" || e.Scheme != "https" && e.Scheme != "http" || strings.Trim(e.Path, "/") != "" {
		return "", nil, badURL("write the endpoint as https://host or http://host:port")
	}
	o = &minio.Options{Secure: e.Scheme == "https", Region: q.Get("region")}
	switch q.Get("addressing") {
	case "":
		if isCOS(e.Host) { // which refuses the other one
			o.BucketLookup = minio.BucketLookupDNS
		}
	case "virtual":
		o.BucketLookup = minio.BucketLookupDNS
	case "path":
		o.BucketLookup = minio.BucketLookupPath
	default:
		return "", nil, badURL("addressing is virtual or path")
	}
	return e.Host, o, nil
}

func badURL(why string) error {
	return fault.New(fault.Config, CodeURL, "state.replicate",
		"for example s3://backups/cdcd?endpoint=https://s3.eu-central-1.amazonaws.com, or ...?endpoint=https://cos.ap-guangzhou.myqcloud.com", "the place of the copies can't be used: %s", why)
}

// Where implements Bucket.
func (s *S3) Where() string { return "s3://" + path.Join(s.bucket, s.prefix) }

// Close lets go of connections that are kept for later.
func (s *S3) Close() { s.transport.CloseIdleConnections() }

func (s *S3) key(k string) string { return path.Join(s.prefix, k) }

// Put implements Bucket.
func (s *S3) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, once bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o := minio.PutObjectOptions{DisableMultipart: true, ContentType: "application/octet-stream"}
	switch {
	case !once:
	case s.forbid != nil:
		ctx = context.WithValue(ctx, onceKey{}, true)
	default:
		o.SetMatchETagExcept("*")
	}
	_, err := s.client.PutObject(ctx, s.bucket, s.key(key), body, size, o)
	return s.explain("write "+key, err)
}

// Get implements Bucket.
func (s *S3) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	o, err := s.client.GetObject(ctx, s.bucket, s.key(key), minio.GetObjectOptions{})
	if err != nil {
		cancel()
		return nil, s.explain("read "+key, err)
	}
	return &reader{o, s, key, cancel}, nil
}

// reader explains errors, which come with the first read.
type reader struct {
	*minio.Object
	s      *S3
	key    string
	cancel context.CancelFunc
}

// Close ends the request.
func (r *reader) Close() error {
	defer r.cancel()
	return r.Object.Close()
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.Object.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.s.explain("read "+r.key, err)
	}
	return n, err
}

// List implements Bucket.
func (s *S3) List(ctx context.Context, prefix string, f func(key string) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	under := s.key(prefix)
	if strings.HasSuffix(prefix, "/") || prefix == "" && under != "" {
		under += "/"
	}
	for o := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: under, Recursive: true}) {
		if o.Err != nil {
			return s.explain("list "+under, o.Err)
		}
		if err := f(strings.TrimPrefix(strings.TrimPrefix(o.Key, s.prefix), "/")); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements Bucket.
func (s *S3) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return s.explain("delete "+key, s.client.RemoveObject(ctx, s.bucket, s.key(key), minio.RemoveObjectOptions{}))
}

// explain makes what the object store answers into a fault; nil stays nil.
func (s *S3) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	code := CodeUnreachable
	if r, ok := errors.AsType[minio.ErrorResponse](err); ok {
		code = codeOf(r)
	}
	return failure(code, s.Where(), what, err)
}

// codeOf sorts S3's answers.
func codeOf(r minio.ErrorResponse) string {
	switch r.Code {
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccountProblem", "AllAccessDisabled":
		return CodeDenied
	case "NoSuchBucket", "InvalidBucketName", "PermanentRedirect":
		return CodeNoBucket
	case "NoSuchKey":
		return CodeMissing
	case "PreconditionFailed", "FileAlreadyExists", "ObjectAlreadyExists":
		return CodeTaken
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "BucketQuotaExceeded":
		return CodeFull
	}
	switch r.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return CodeDenied
	case http.StatusNotFound:
		return CodeMissing
	case http.StatusPreconditionFailed:
		return CodeTaken
	case http.StatusInsufficientStorage:
		return CodeFull
	}
	return CodeUnreachable
}

// isCOS reports whether the endpoint is Tencent's object store.
func isCOS(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.HasSuffix(host, ".myqcloud.com") || strings.HasSuffix(host, ".tencentcos.cn")
}

// onceKey marks the context of a Put that must not replace anything.
type onceKey struct{}

// forbidOverwrite gives Tencent COS its own header for what S3 calls
// If-None-Match, which COS does not know.
// See https://www.tencentcloud.com/document/product/436/7749.
type forbidOverwrite struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (f *forbidOverwrite) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPut && r.Context().Value(onceKey{}) != nil {
		r = r.Clone(r.Context())
		r.Header.Set("X-Cos-Forbid-Overwrite", "true")
	}
	return f.next.RoundTrip(r)
}
