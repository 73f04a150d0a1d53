package object

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// putParts uploads an object whose first part is full. An upload that fails is
// given up, so that nobody pays for its parts; if that fails too, the bucket's
// rule for unfinished uploads is what removes them.
func (s *s3Store) putParts(ctx context.Context, key string, part []byte, body io.Reader) (size int64, err error) {
	var id *string
	err = s.try(ctx, func(ctx context.Context) error {
		out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.cfg.Bucket, Key: s.key(key), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
		if err == nil {
			id = out.UploadId
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if size, err = s.upload(ctx, key, id, part, body); err == nil {
		return size, nil
	}
	_ = s.try(context.WithoutCancel(ctx), func(ctx context.Context) error {
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.cfg.Bucket, Key: s.key(key), UploadId: id})
		return err
	})
	return 0, err
}

func (s *s3Store) upload(ctx context.Context, key string, id *string, part []byte, body io.Reader) (size int64, err error) {
	var done []types.CompletedPart
	for n := len(part); n > 0; {
		number := aws.Int32(int32(len(done) + 1))
		err := s.try(ctx, func(ctx context.Context) error {
			out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &s.cfg.Bucket, Key: s.key(key), UploadId: id, PartNumber: number, Body: bytes.NewReader(part[:n]), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
			})
			if err == nil {
				done = append(done, types.CompletedPart{
					ETag: out.ETag, PartNumber: number, ChecksumCRC32: out.ChecksumCRC32,
				})
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		size += int64(n)
		if n, err = io.ReadFull(body, part); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, err
		}
	}
	return size, s.complete(ctx, key, id, done, size)
}

// complete makes an object of the parts. A lost answer makes the next try fail,
// since the upload is no more: then the object is there.
func (s *s3Store) complete(ctx context.Context, key string, id *string, parts []types.CompletedPart, size int64) error {
	tried := false
	return s.try(ctx, func(ctx context.Context) error {
		_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: s.key(key), UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		if err != nil && tried && errors.Is(explain(err), ErrNotFound) {
			head, headErr := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key)})
			if headErr == nil && aws.ToInt64(head.ContentLength) == size {
				return nil
			}
			return errors.Join(err, headErr)
		}
		tried = true
		return err
	})
}
