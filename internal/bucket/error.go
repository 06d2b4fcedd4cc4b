// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Error says that an object was not written.
type Error struct {
	// URL of the object.
	URL string
	// Code is the store's word for it, such as AccessDenied; "" where it gave none.
	Code string
	// Temporary says that the same request may well succeed in a moment.
	Temporary bool
	Err       error
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("writing %s: %v", e.URL, e.Err)
	}
	return fmt.Sprintf("writing %s: %s: %v", e.URL, e.Code, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// isTemporary reports whether trying again in a moment may help.
func isTemporary(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Temporary
}

// slowError is why a try ends that takes too long.
type slowError struct{ limit time.Duration }

func (e *slowError) Error() string {
	return fmt.Sprintf("the store took longer than %s to take the object", e.limit)
}

// explanations say what a user or an administrator can do about an error of a store. The
// message of the store itself is left out where it would only repeat the code.
var explanations = map[string]string{
	"AccessDenied":          "the pool's credentials for this store may not write here",
	"InvalidAccessKeyId":    "the store does not know the pool's access key",
	"SignatureDoesNotMatch": "the pool's secret access key is wrong",
	"ExpiredToken":          "the pool's credentials for this store have expired",
	"NoSuchBucket":          "there is no such bucket",
}

// explain says what went wrong, without the addresses that the library puts into errors,
// as one may hold a signature.
func (b *Bucket) explain(object string, err error) *Error {
	e := &Error{URL: object, Temporary: true, Err: err}
	if withAddress, ok := errors.AsType[*url.Error](err); ok {
		e.Err = fmt.Errorf("the store at %s gave no answer: %w", b.endpoint(), withAddress.Err)
	}
	// The library makes an answer with status 0 of a request that got none.
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && response.HTTPStatusCode() != 0 {
		status := response.HTTPStatusCode()
		e.Temporary = status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
		e.Err = fmt.Errorf("the store at %s answered %d %s", b.endpoint(), status, http.StatusText(status))
	}
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		e.Code = answer.ErrorCode()
		if text, known := explanations[e.Code]; known {
			e.Err = fmt.Errorf("%w: %s", e.Err, text)
		}
	}
	return e
}

// endpoint is where the store is, for messages.
func (b *Bucket) endpoint() string {
	if b.config.Endpoint != "" {
		return b.config.Endpoint
	}
	return "its public endpoint"
}
