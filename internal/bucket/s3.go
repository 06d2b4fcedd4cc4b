// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// endpointRegion is signed where a store with an endpoint of its own names no region, as
// MinIO and Ceph expect it.
const endpointRegion = "us-east-1"

// Keys of a Secret with the credentials of a store that speaks S3.
const (
	KeyAccessKeyID     = "AWS_ACCESS_KEY_ID"
	KeySecretAccessKey = "AWS_SECRET_ACCESS_KEY"
	// KeySessionToken may be missing.
	KeySessionToken = "AWS_SESSION_TOKEN"
)

var s3Kind = kind{
	keys:   []string{KeyAccessKeyID, KeySecretAccessKey, KeySessionToken},
	open:   openS3,
	put:    upload,
	answer: answerOfS3,
}

// openS3 makes ready to use a bucket of Amazon or of a store that speaks its language.
func openS3(ctx context.Context, c Config, name string, s secret) (*blob.Bucket, error) {
	options := []func(*config.LoadOptions) error{
		// One retry loop is enough, and ours knows when to end.
		config.WithRetryMaxAttempts(1),
		config.WithHTTPClient(newS3Client()),
		// Of a body whose checksum nobody asked for the signature has the sha256, which
		// stores compare that know no newer checksums.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		// What is read is compared with a sha256 of its own, and objects without a checksum
		// would be complained of in the log.
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	switch {
	case c.Region != "":
		options = append(options, config.WithRegion(c.Region))
	case c.Endpoint != "":
		options = append(options, config.WithRegion(endpointRegion))
	}
	switch {
	case c.Anonymous:
		options = append(options, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	case s != nil:
		if err := s.need(KeyAccessKeyID, KeySecretAccessKey); err != nil {
			return nil, err
		}
		options = append(options, config.WithCredentialsProvider(aws.CredentialsProviderFunc(s.forS3)))
	}
	sdk, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	client := s3.NewFromConfig(sdk, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})
	return s3blob.OpenBucket(ctx, client, name, &s3blob.Options{RequestChecksumCalculation: sdk.RequestChecksumCalculation})
}

// forS3 gives the credentials as Amazon's library takes them.
func (s secret) forS3(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: s[KeyAccessKeyID], SecretAccessKey: s[KeySecretAccessKey], SessionToken: s[KeySessionToken], Source: "Secret"}, nil
}

// answerOfS3 gives what a store answered. One to a question about an object without its
// bytes has no code but that of its status.
func answerOfS3(err error) (status int, code string) {
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode() // 0 for a request that got no answer.
	}
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		code = answer.ErrorCode()
	}
	switch code {
	case "NotFound":
		code = CodeNoSuchKey
	case "Forbidden":
		code = CodeAccessDenied
	}
	return status, code
}

// newS3Client is newClient as Amazon's library wants it, which then also reads the
// certificates that AWS_CA_BUNDLE names.
func newS3Client() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = headerTimeout / 3 }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = headerTimeout
			t.IdleConnTimeout = idleTimeout
		})
}
