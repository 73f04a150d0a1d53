package object

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// An S3Config says which bucket. Bucket is required; keys come from AWS's default
// chain (environment, shared files, instance role) unless they stand here.
type S3Config struct {
	Bucket    string
	Prefix    string // in front of every key; a "/" is put behind it
	Endpoint  string // URL of a server that is not AWS's
	Region    string // default: the chain's, or us-east-1
	PathStyle bool   // bucket in the path instead of the host name
	AccessKey string
	SecretKey string

	Timeout  time.Duration // of one try of one request; default 30 s
	Attempts int           // tries of one request; default 5
	PartSize int           // bytes of a part of a large object, which are kept in memory; default 16 MiB
}

// Pauses between tries, doubled from the first to the longest, less up to a half.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// s3Store is a Store in a bucket. It tries again by itself instead of the SDK, so
// that bodies count as part of a try. Since no key is ever used twice, a try whose
// answer was lost may be repeated.
type s3Store struct {
	cfg       S3Config
	client    *s3.Client
	transport *http.Transport
}

// OpenS3 opens a store in a bucket, which must exist and be readable.
func OpenS3(ctx context.Context, cfg S3Config) (Store, error) {
	if cfg.Bucket == "" {
		return nil, errors.New("open object bucket: no bucket is named")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.Attempts = cmp.Or(cfg.Attempts, 5)
	cfg.PartSize = cmp.Or(cfg.PartSize, 16<<20)
	if cfg.Prefix = strings.Trim(cfg.Prefix, "/"); cfg.Prefix != "" {
		cfg.Prefix += "/"
	}
	s := &s3Store{cfg: cfg}
	options := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	if cfg.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: cfg.AccessKey, SecretAccessKey: cfg.SecretKey, Source: "configuration"}, nil
		})))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("open object bucket %s: %w", cfg.Bucket, err)
	}
	loaded.Region = cmp.Or(loaded.Region, "us-east-1")
	// The SDK's transport, since it knows of AWS_CA_BUNDLE, but one that can be closed.
	built, ok := loaded.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("open object bucket %s: the SDK has a client of another kind, %T", cfg.Bucket, loaded.HTTPClient)
	}
	s.transport = built.GetTransport()
	s.transport.MaxIdleConnsPerHost = 64
	loaded.HTTPClient = &http.Client{Transport: s.transport}
	s.client = s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = cfg.PathStyle
		o.Logger = logging.Nop{} // what matters is in the errors
		// Blocks have checksums of their own; of a range the server has none.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
	})
	err = s.try(ctx, func(ctx context.Context) error {
		_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &cfg.Bucket})
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open object bucket %s: %w", cfg.Bucket, err), s.Close())
	}
	return s, nil
}

func (s *s3Store) key(key string) *string { return aws.String(s.cfg.Prefix + key) }

// Put sends a small object at once and a large one in parts, one of which is in
// memory.
func (s *s3Store) Put(ctx context.Context, key string, body io.Reader) (int64, error) {
	part := make([]byte, s.cfg.PartSize)
	n, err := io.ReadFull(body, part)
	switch {
	case err == nil: // there may be more
		size, err := s.putParts(ctx, key, part, body)
		if err != nil {
			return 0, fmt.Errorf("put %s: %w", key, err)
		}
		return size, nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = s.try(ctx, func(ctx context.Context) error {
			_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key), Body: bytes.NewReader(part[:n])})
			return err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	return int64(n), nil
}

func (s *s3Store) Get(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 {
		return nil, fmt.Errorf("get %d bytes at %d of %s: %w", n, offset, key, ErrTruncated)
	}
	if n == 0 {
		return []byte{}, nil
	}
	b := make([]byte, n)
	err := s.try(ctx, func(ctx context.Context) error {
		r, err := s.read(ctx, key, fmt.Sprintf("bytes=%d-%d", offset, offset+n-1))
		if err != nil {
			return err
		}
		defer r.body.Close()
		switch {
		case r.first != offset:
			return fmt.Errorf("%w: answered from byte %d on", errRange, r.first)
		case r.last < offset+n-1:
			return fmt.Errorf("it has %d bytes: %w", r.size, ErrTruncated)
		}
		_, err = io.ReadFull(r.body, b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get %d bytes at %d of %s: %w", n, offset, key, err)
	}
	return b, nil
}

func (s *s3Store) Tail(ctx context.Context, key string, n int64) (b []byte, size int64, err error) {
	err = s.try(ctx, func(ctx context.Context) error {
		r, err := s.read(ctx, key, fmt.Sprintf("bytes=-%d", n))
		if errors.Is(err, ErrTruncated) { // there is no last byte of nothing
			b, size = []byte{}, 0
			return s.empty(ctx, key)
		}
		if err != nil {
			return err
		}
		defer r.body.Close()
		if want := max(0, r.size-n); r.first != want || r.last != r.size-1 {
			return fmt.Errorf("%w: answered bytes %d to %d of %d", errRange, r.first, r.last, r.size)
		}
		b, size = make([]byte, r.size-r.first), r.size
		_, err = io.ReadFull(r.body, b)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("get last %d bytes of %s: %w", n, key, err)
	}
	return b, size, nil
}

// empty is an error unless the object is there and empty.
func (s *s3Store) empty(ctx context.Context, key string) error {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key)})
	if err == nil && aws.ToInt64(head.ContentLength) != 0 {
		err = fmt.Errorf("%w: none of %d bytes", errRange, *head.ContentLength)
	}
	return err
}

// errRange is a server that answers another range than the one it was asked for.
var errRange = errors.New("the server answers another range than was asked for")

// A ranged is the answer to a ranged read.
type ranged struct {
	body              io.ReadCloser
	first, last, size int64
}

// read asks for a range and looks at what the server says that it answers.
func (s *s3Store) read(ctx context.Context, key, want string) (r ranged, err error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key), Range: &want})
	if err != nil {
		return r, err
	}
	r.body = out.Body
	got := aws.ToString(out.ContentRange)
	if got == "" && aws.ToInt64(out.ContentLength) == 0 { // of an empty object some servers answer all
		return r, errors.Join(fmt.Errorf("it is empty: %w", ErrTruncated), out.Body.Close())
	}
	span, size, ok := strings.Cut(strings.TrimPrefix(got, "bytes "), "/")
	first, last, _ := strings.Cut(span, "-")
	var errs [3]error
	r.first, errs[0] = strconv.ParseInt(first, 10, 64)
	r.last, errs[1] = strconv.ParseInt(last, 10, 64)
	r.size, errs[2] = strconv.ParseInt(size, 10, 64)
	if length := aws.ToInt64(out.ContentLength); !ok || errors.Join(errs[:]...) != nil || r.first < 0 || r.last < r.first || r.last >= r.size || length != r.last-r.first+1 {
		return r, errors.Join(fmt.Errorf("%w: %q, %d bytes for %q", errRange, got, length, want), out.Body.Close())
	}
	return r, nil
}

func (s *s3Store) List(ctx context.Context, prefix, after string) ([]Info, error) {
	var all []Info
	in := &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, Prefix: s.key(prefix)}
	if after != "" {
		in.StartAfter = s.key(after)
	}
	for {
		var out *s3.ListObjectsV2Output
		err := s.try(ctx, func(ctx context.Context) (err error) {
			out, err = s.client.ListObjectsV2(ctx, in)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list objects: %w", err)
		}
		for _, o := range out.Contents {
			key := strings.TrimPrefix(aws.ToString(o.Key), s.cfg.Prefix)
			all = append(all, Info{key, aws.ToInt64(o.Size), aws.ToTime(o.LastModified)})
		}
		if !aws.ToBool(out.IsTruncated) {
			return all, nil
		}
		if next := out.NextContinuationToken; aws.ToString(next) == "" || aws.ToString(next) == aws.ToString(in.ContinuationToken) {
			return nil, errors.New("list objects: the server says that there are more and does not say how to go on")
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func (s *s3Store) Delete(ctx context.Context, key string) error {
	err := s.try(ctx, func(ctx context.Context) error {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key)})
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

func (s *s3Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}
