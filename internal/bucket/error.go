// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Codes that stores of all kinds have in common, whatever their own word for them is.
const (
	CodeAccessDenied         = "AccessDenied"
	CodeAuthenticationFailed = "AuthenticationFailed"
	CodeNoSuchBucket         = "NoSuchBucket"
	CodeNoSuchKey            = "NoSuchKey"
)

// operation is what was to be done with an object.
type operation string

const (
	writing operation = "writing"
	reading operation = "reading"
)

// Error says that an object was not written or not read.
type Error struct {
	operation operation
	// URL of the object.
	URL string
	// Code is the word for it, such as AccessDenied; "" where the store gave none.
	Code string
	// Temporary says that the same request may well succeed in a moment.
	Temporary bool
	Err       error
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s %s: %v", e.operation, e.URL, e.Err)
	}
	return fmt.Sprintf("%s %s: %s: %v", e.operation, e.URL, e.Code, e.Err)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// slowError is why a try ends that takes too long.
type slowError struct{ limit time.Duration }

func (e *slowError) Error() string {
	return fmt.Sprintf("the store took longer than %s to take the object", e.limit)
}

// explanations say what a user or an administrator can do about an error of a store. The
// message of the store itself is left out where it would only repeat the code.
var explanations = map[operation]map[string]string{
	writing: {CodeAccessDenied: "the credentials for this store may not write here"},
	reading: {
		CodeAccessDenied: "the credentials for this store may not read here, or it hides from them that there is no such object",
		CodeNoSuchKey:    "there is no such object",
	},
}

// credentialExplanations are those for any operation.
var credentialExplanations = map[string]string{
	"InvalidAccessKeyId":     "the store does not know the access key",
	"SignatureDoesNotMatch":  "the secret access key is wrong",
	"ExpiredToken":           "the credentials for this store have expired",
	CodeAuthenticationFailed: "the credentials for this store are wrong or have expired",
	CodeNoSuchBucket:         "there is no such bucket",
}

// explanation is the one for an error; "" where the code says nothing that is known.
func explanation(op operation, code string) string {
	if text := explanations[op][code]; text != "" {
		return text
	}
	return credentialExplanations[code]
}

// explain says what went wrong, without the addresses that the libraries put into errors,
// as one may hold a signature.
func (b *Bucket) explain(op operation, object string, err error) *Error {
	e := &Error{operation: op, URL: object, Temporary: true, Err: err}
	if withAddress, ok := errors.AsType[*url.Error](err); ok {
		e.Err = fmt.Errorf("the store at %s gave no answer: %w", b.endpoint(), withAddress.Err)
	}
	status, code := kinds[b.scheme].answer(err)
	if status != 0 {
		e.Temporary = status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
		e.Err = fmt.Errorf("the store at %s answered %d %s", b.endpoint(), status, http.StatusText(status))
	}
	e.Code = code
	if text := explanation(op, code); text != "" {
		e.Err = fmt.Errorf("%w: %s", e.Err, text)
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
