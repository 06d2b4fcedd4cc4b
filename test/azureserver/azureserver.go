// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package azureserver starts Azurite, Microsoft's own emulator of Azure Blob Storage, for
// tests: on loopback, with its objects in memory, and a proxy before it that fails as it is
// told to. Azurite runs on Node.js, which building and testing need for nothing else, so
// that its tests are left out unless `make azureserver` has fetched it.
package azureserver

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/atelier-dev/atelier/test/front"
	"github.com/atelier-dev/atelier/test/internal/repository"
)

// The server's only account.
const (
	Account = "atelier"
	Key     = "YXRlbGllci10ZXN0LW9ubHk="
)

// Server is a server of Azure Blob Storage.
type Server struct {
	*front.Front
	client *azblob.Client
}

// Start starts a server with containers, for as long as the test runs. Without Azurite the
// test is left out.
func Start(t testing.TB, containers ...string) *Server {
	t.Helper()
	root, err := repository.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(root, "bin", "azurite", "node_modules", ".bin", "azurite-blob")
	if _, err := os.Stat(program); err != nil {
		t.Skip("Azurite is not there; `make azureserver` fetches it")
	}
	process, err := front.StartProcess(t, program, func(host string, port int) []string {
		return []string{"--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", host, "--blobPort", strconv.Itoa(port)}
	}, "AZURITE_ACCOUNTS="+Account+":"+Key)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Front: front.Start(t, process.Address)}
	credential, err := azblob.NewSharedKeyCredential(Account, Key)
	if err != nil {
		t.Fatal(err)
	}
	if s.client, err = azblob.NewClientWithSharedKeyCredential("http://"+process.Address+"/"+Account, credential, nil); err != nil {
		t.Fatal(err)
	}
	for _, container := range containers {
		if _, err := s.client.CreateContainer(context.Background(), container, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Endpoint is that of the account, behind the proxy.
func (s *Server) Endpoint() string { return s.URL + "/" + Account }

// SAS is a signature with which objects of a container may be written for an hour.
func (s *Server) SAS(t testing.TB, container string) string {
	t.Helper()
	address, err := s.client.ServiceClient().NewContainerClient(container).GetSASURL(
		sas.ContainerPermissions{Create: true, Write: true}, time.Now().Add(time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, signature, _ := strings.Cut(address, "?")
	return signature
}

// Object reads an object, past the proxy.
func (s *Server) Object(container, key string) ([]byte, error) {
	response, err := s.client.DownloadStream(context.Background(), container, key, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // Only read from.
	return io.ReadAll(response.Body)
}

// Keys are those of all objects of a container.
func (s *Server) Keys(container string) ([]string, error) {
	var keys []string
	for pages := s.client.NewListBlobsFlatPager(container, nil); pages.More(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return nil, err
		}
		for _, item := range page.Segment.BlobItems {
			keys = append(keys, *item.Name)
		}
	}
	return keys, nil
}
