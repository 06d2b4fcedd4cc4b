// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

// Keys of a Secret with the credentials of an Azure storage account, which are also the
// variables in which Azure's own tools look for them. There is one of the last two.
const (
	KeyAzureAccount = "AZURE_STORAGE_ACCOUNT"
	KeyAzureKey     = "AZURE_STORAGE_KEY"
	KeyAzureSAS     = "AZURE_STORAGE_SAS_TOKEN"
)

var azureKeys = []string{KeyAzureAccount, KeyAzureKey, KeyAzureSAS}

var azureKind = kind{
	keys:   azureKeys,
	open:   openAzure,
	put:    putAzure,
	answer: answerOfAzure,
}

// openAzure makes ready to use a container of Azure Blob Storage.
func openAzure(ctx context.Context, c Config, name string, s secret) (*blob.Bucket, error) {
	if s == nil && !c.Anonymous {
		s = azureSurroundings()
	}
	service := strings.TrimSuffix(c.Endpoint, "/")
	if service == "" {
		if s[KeyAzureAccount] == "" {
			return nil, fmt.Errorf("the account is not known: the endpoint must be set, such as https://account.blob.core.windows.net, or %s", KeyAzureAccount)
		}
		service = "https://" + s[KeyAzureAccount] + ".blob.core.windows.net"
	}
	client, err := s.forAzure(service+"/"+name, c)
	if err != nil {
		return nil, err
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

// putAzure writes past the library's driver: that copies the data to memory which it gives
// back to the system as soon as there is an answer, and the process crashes where the answer
// comes, an error mostly, while the data is still being sent.
func putAzure(ctx context.Context, b *blob.Bucket, key, contentType, sum string, data []byte) error {
	var client *container.Client
	if !b.As(&client) {
		return errors.New("no bucket of Azure Blob Storage")
	}
	_, err := client.NewBlockBlobClient(key).Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), &blockblob.UploadOptions{
		HTTPHeaders: &azblob.HTTPHeaders{BlobContentType: &contentType},
		Metadata:    map[string]*string{metadataSum: &sum},
	})
	return err
}

// azureSurroundings are the credentials in the environment; those of a workload identity
// the library finds.
func azureSurroundings() secret {
	s := secret{}
	for _, key := range azureKeys {
		if value := os.Getenv(key); value != "" {
			s[key] = value
		}
	}
	return s
}

// forAzure makes a client for a container with the credentials.
func (s secret) forAzure(address string, c Config) (*container.Client, error) {
	options := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: newClient(),
		// One retry loop is enough, and ours knows when to end.
		Retry: policy.RetryOptions{MaxRetries: -1},
	}}
	switch {
	case c.Anonymous:
		return container.NewClientWithNoCredential(address, options)
	case s[KeyAzureSAS] != "":
		return container.NewClientWithNoCredential(address+"?"+strings.TrimPrefix(s[KeyAzureSAS], "?"), options)
	case s[KeyAzureKey] != "":
		if err := s.need(KeyAzureAccount); err != nil {
			return nil, err
		}
		key, err := container.NewSharedKeyCredential(s[KeyAzureAccount], s[KeyAzureKey])
		if err != nil {
			return nil, fmt.Errorf("the key %s must be a storage account's key in base64", KeyAzureKey)
		}
		return container.NewClientWithSharedKeyCredential(address, key, options)
	case c.CredentialsDir != "":
		return nil, fmt.Errorf("the Secret with the store's credentials must be there and have the key %s or %s", KeyAzureKey, KeyAzureSAS)
	}
	identity, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options.ClientOptions})
	if err != nil {
		return nil, err
	}
	return container.NewClient(address, identity, options)
}

// azureCodes are the common words for Azure's.
var azureCodes = map[string]string{
	string(bloberror.AuthorizationFailure):            CodeAccessDenied,
	string(bloberror.AuthorizationPermissionMismatch): CodeAccessDenied,
	string(bloberror.ContainerNotFound):               CodeNoSuchBucket,
	string(bloberror.BlobNotFound):                    CodeNoSuchKey,
}

// answerOfAzure gives what the store answered, or the server that gives tokens for it.
func answerOfAzure(err error) (status int, code string) {
	if refused, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && refused.RawResponse != nil {
		if status = refused.RawResponse.StatusCode; status < 500 {
			code = CodeAuthenticationFailed
		}
		return status, code
	}
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return 0, ""
	}
	if known := azureCodes[answer.ErrorCode]; known != "" {
		return answer.StatusCode, known
	}
	if answer.ErrorCode == "" && answer.StatusCode == http.StatusForbidden {
		return answer.StatusCode, CodeAccessDenied
	}
	return answer.StatusCode, answer.ErrorCode
}
