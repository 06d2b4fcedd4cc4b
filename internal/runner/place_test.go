// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/test/s3server"
)

// toStore is an assignment whose picture goes to the server.
func toStore(uid types.UID, server *s3server.Server) v1alpha1.Assignment {
	a := assignment(uid, 1, "cat")
	a.SaveSeconds = 600
	a.Store = &v1alpha1.OutputStore{Name: "pictures", URL: "s3://pictures/team-a", Endpoint: server.URL, PathStyle: true,
		SecretRef: &v1alpha1.ObjectReference{Name: "pictures-s3"}}
	return a
}

// withStores mounts the credentials.
func withStores(t *testing.T) option {
	t.Helper()
	dir := t.TempDir()
	for key, value := range map[string]string{bucket.KeyAccessKeyID: s3server.AccessKeyID, bucket.KeySecretAccessKey: s3server.SecretAccessKey} {
		if err := os.MkdirAll(filepath.Join(dir, "pictures"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pictures", key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(s *settings) { s.config.StoresDir = dir }
}

func TestPicturesGoToTheStore(t *testing.T) {
	c := newCluster(t)
	server := s3server.Start(t, "pictures")
	server.SetFault(func(w http.ResponseWriter, _ *http.Request, n int64) bool {
		if n == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n == 1
	})
	c.runner(toStore("a", server))
	c.start(withStores(t))
	report := c.awaitPhase("a", v1alpha1.PhaseSucceeded)
	data, err := server.Object("pictures", "team-a/out/a/0.png")
	c.Expect(err).NotTo(HaveOccurred())
	sum := sha256.Sum256(data)
	c.Expect(report.Outputs).To(ConsistOf(And(HaveField("URL", "s3://pictures/team-a/out/a/0.png"), HaveField("Path", "out/a/0.png"),
		HaveField("SHA256", hex.EncodeToString(sum[:])), HaveField("SizeBytes", int64(len(data))))))
	c.Expect(c.files()).To(BeEmpty())
}

// files are all on the outputs volume.
func (c *cluster) files() []string {
	c.Helper()
	var files []string
	c.Expect(fs.WalkDir(os.DirFS(c.outputs), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})).To(Succeed())
	return files
}

// TestWhatAKilledRunnerLeft of a picture is looked for by the next attempt at its job, and by
// no first one.
func TestWhatAKilledRunnerLeft(t *testing.T) {
	const picture = "out/a/0.png"
	sum := sha256.Sum256([]byte("0.png"))
	left := "out/a/." + hex.EncodeToString(sum[:8]) + ".ABC.partial"
	for attempt, want := range map[int32][]string{1: {picture, left}, 2: {picture}} {
		t.Run(fmt.Sprintf("attempt %d", attempt), func(t *testing.T) {
			c := newCluster(t)
			c.Expect(os.MkdirAll(filepath.Join(c.outputs, "out/a"), 0o700)).To(Succeed())
			c.Expect(os.WriteFile(filepath.Join(c.outputs, left), []byte("half a pic"), 0o600)).To(Succeed())
			c.runner(assignment("a", attempt, "cat"))
			c.start()
			c.awaitPhase("a", v1alpha1.PhaseSucceeded)
			c.Expect(c.files()).To(ConsistOf(want))
		})
	}
}

// A store that can't be written to fails the attempt, before anything is drawn where that
// can be known.
func TestStoreThatFails(t *testing.T) {
	c := newCluster(t)
	server := s3server.Start(t) // without the bucket
	fake := &fakePipeline{}
	lacking := toStore("b", server)
	lacking.Store.Name = "another"
	c.runner(lacking, toStore("a", server))
	c.start(withStores(t), withPipeline(fake))
	c.Expect(c.awaitPhase("a", v1alpha1.PhaseFailed).Error).To(And(HaveField("Reason", v1alpha1.ReasonSaveFailed), HaveField("Retryable", true),
		HaveField("Message", And(ContainSubstring("s3://pictures/team-a/out/a/0.png"), ContainSubstring("NoSuchBucket")))))
	c.Expect(c.report("b").Error).To(And(HaveField("Reason", v1alpha1.ReasonSaveFailed), HaveField("Message", ContainSubstring(bucket.KeyAccessKeyID))))
	c.Expect(fake.history()).To(Equal([]string{"load cat", "generate cat"}))
}
