// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"slices"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// TestPlainHTTP says where a registry is read without TLS, and who gets credentials.
func TestPlainHTTP(t *testing.T) {
	for _, test := range []struct {
		reference   string
		insecure    bool
		plain       bool
		credentials bool
	}{
		{reference: "ghcr.io/a/b:c", credentials: true},
		{reference: "oci://ghcr.io/a/b:c", credentials: true},
		{reference: "10.0.0.1:5000/a/b:c", credentials: true},
		{reference: "localhost.example.com/a/b:c", credentials: true},
		{reference: "ghcr.io/a/b:c", insecure: true, plain: true},
		{reference: "localhost:5000/a/b:c", plain: true, credentials: true},
		{reference: "127.0.0.1:5000/a/b:c", plain: true, credentials: true},
	} {
		o, err := NewOCI(test.reference, test.insecure, Credentials{})
		if err != nil {
			t.Fatal(err)
		}
		client := o.repository.Client.(*auth.Client)
		if o.repository.PlainHTTP != test.plain || (client.Credential != nil) != test.credentials {
			t.Errorf("%s, insecure %v: plain %v, credentials %v; want %v and %v", test.reference, test.insecure,
				o.repository.PlainHTTP, client.Credential != nil, test.plain, test.credentials)
		}
	}
}

func TestLayers(t *testing.T) {
	const sum = "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	manifest := func(layers string) string { return `{"layers": [` + layers + `]}` }
	for text, data := range map[string]string{
		"not JSON":         "<html>",
		"no layers":        `{"manifests": [{}]}`,
		"must be a sha256": manifest(`{"digest": "sha512:ab", "size": 1}`),
		"the size is -1":   manifest(`{"digest": "` + sum + `", "size": -1}`),
		"no place":         manifest(`{"digest": "` + sum + `", "size": 1, "mediaType": "application/vnd.oci.image.layer.v1.tar"}`),
		"at most 10000":    manifest(strings.Repeat("{},", 10_000) + "{}"),
	} {
		if _, err := layers([]byte(data)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v; want %q", err, text)
		}
	}
}

// A signature in an address, or a password, is shown to nobody.
func TestAddressesAreShownWithoutSecrets(t *testing.T) {
	h, err := NewHTTP("https://127.0.0.1:1/m.tar?signature=secret", strings.Repeat("a", 64), Credentials{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Resolve(t.Context(), "")
	if err == nil || !IsTemporary(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error is %v; want one without the signature", err)
	}
	_, _, err = h.Open(t.Context(), Blob{}, 0)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error is %v; want one without the signature", err)
	}
}

func TestSums(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	blobs, err := parseSums([]byte(sum + "  ./unet/model.onnx\r\n" + sum + " *a file with spaces\n\n"))
	want := []Blob{{Digest: "sha256:" + sum, Size: -1, Path: "unet/model.onnx"}, {Digest: "sha256:" + sum, Size: -1, Path: "a file with spaces"}}
	if err != nil || !slices.Equal(blobs, want) {
		t.Errorf("got %+v (%v), want %+v", blobs, err, want)
	}
	for text, data := range map[string]string{
		"has no lines":                  "\n",
		"line 2: must be a sha256":      sum + "  a\n<html>\n",
		"line 1: must be a sha256":      sum[:40] + "  a",
		"line 1: must be a sha256 of":   "\\" + sum + "  a\\nb",
		"line 1: the path \"/etc/pass":  sum + "  /etc/passwd",
		"line 1: the path \"a/../../b":  sum + "  a/../../b",
		"line 1: the path \".\"":        sum + "  .",
		"line 1001: at most 1000 files": strings.Repeat(sum+"  a\n", 1001),
	} {
		if _, err := parseSums([]byte(data)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v; want %q", err, text)
		}
	}
}
