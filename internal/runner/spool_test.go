// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package runner

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/atelier-dev/atelier/api/v1alpha1"
)

// twoPictures are what a job drew.
func twoPictures() []finished {
	return []finished{
		{output: v1alpha1.Output{Index: 0, Seed: 7, Width: 8, Height: 4}, file: func() ([]byte, error) { return []byte("first"), nil }},
		{output: v1alpha1.Output{Index: 1, Seed: 8, Width: 8, Height: 4}, file: func() ([]byte, error) { return []byte("second"), nil }},
	}
}

// newSpool has the pictures of the job "a", drawn from "key".
func newSpool(t *testing.T) (spool, *WithT) {
	t.Helper()
	s, g := spool(t.TempDir()), NewWithT(t)
	g.Expect(s.keep("a", "key", twoPictures())).To(Succeed())
	return s, g
}

func TestKeptPicturesAreThoseThatWereDrawn(t *testing.T) {
	s, g := newSpool(t)
	found, err := s.find("a", "key")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(HaveLen(2))
	for i, drawn := range twoPictures() {
		want, err := drawn.file()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(found[i].file()).To(Equal(want))
		g.Expect(found[i].output).To(And(HaveField("Index", drawn.output.Index), HaveField("Seed", drawn.output.Seed),
			HaveField("Width", drawn.output.Width), HaveField("Height", drawn.output.Height)))
	}
	g.Expect(s.find("a", "another key")).To(BeNil())
	g.Expect(s.find("b", "key")).To(BeNil())
	g.Expect(s.drop("a")).To(Succeed())
	g.Expect(s.find("a", "key")).To(BeNil())
}

// TestASetThatIsNotWholeIsNotUsed cuts keeping off, and damages files.
func TestASetThatIsNotWholeIsNotUsed(t *testing.T) {
	s, g := newSpool(t)
	set := filepath.Join(string(s), ".unsaved", "a")
	torn := twoPictures()
	torn[1].file = func() ([]byte, error) { return nil, errors.New("cut off") }
	g.Expect(s.keep("a", "newer", torn)).To(MatchError("cut off"))
	g.Expect(set).NotTo(BeAnExistingFile(), "and the older set is gone too")

	g.Expect(s.keep("a", "key", twoPictures())).To(Succeed())
	g.Expect(os.Remove(filepath.Join(set, "record.json"))).To(Succeed())
	g.Expect(s.find("a", "key")).To(BeNil(), "as after a crash before the record")

	for name, damage := range map[string]func(file string) error{
		"shorter": func(file string) error { return os.Truncate(file, 3) },
		"other":   func(file string) error { return os.WriteFile(file, []byte("thirds"), 0o600) },
		"missing": os.Remove,
	} {
		g.Expect(s.drop("a")).To(Succeed())
		g.Expect(s.keep("a", "key", twoPictures())).To(Succeed())
		g.Expect(damage(filepath.Join(set, "1"))).To(Succeed())
		_, err := s.find("a", "key")
		g.Expect(err).To(MatchError(ContainSubstring(".unsaved/a/1")), name)
	}
	g.Expect(os.WriteFile(filepath.Join(set, "record.json"), []byte(`{"key": "ke`), 0o600)).To(Succeed())
	_, err := s.find("a", "key")
	g.Expect(err).To(HaveOccurred())
}

// TestNoLinkLeadsOutOfTheVolume to pictures of others.
func TestNoLinkLeadsOutOfTheVolume(t *testing.T) {
	s, g := newSpool(t)
	elsewhere, _ := newSpool(t)
	g.Expect(os.RemoveAll(filepath.Join(string(s), ".unsaved"))).To(Succeed())
	g.Expect(os.Symlink(filepath.Join(string(elsewhere), ".unsaved"), filepath.Join(string(s), ".unsaved"))).To(Succeed())
	_, err := s.find("a", "key")
	g.Expect(err).To(MatchError(ContainSubstring("escapes")))
	g.Expect(s.drop("a")).NotTo(Succeed())
	g.Expect(elsewhere.find("a", "key")).To(HaveLen(2))
}

func TestOldSetsGo(t *testing.T) {
	s, g := newSpool(t)
	g.Expect(s.keep("b", "key", twoPictures())).To(Succeed())
	now := time.Now()
	old := now.Add(-spoolAge - time.Minute)
	for _, job := range []string{"a", "b"} {
		g.Expect(os.Chtimes(filepath.Join(string(s), ".unsaved", job), old, old)).To(Succeed())
	}
	g.Expect(s.keep("b", "key", nil)).To(Succeed(), "which is there already, and in use")
	g.Expect(s.tidy(now)).To(Succeed())
	g.Expect(s.find("a", "key")).To(BeNil())
	g.Expect(s.find("b", "key")).To(HaveLen(2))
	g.Expect(spool(t.TempDir()).tidy(now)).To(Succeed(), "nothing was ever kept")
}

func TestSurplus(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	set := func(name string, age time.Duration, bytes int64) pictureSet {
		return pictureSet{name: name, used: now.Add(-age), bytes: bytes}
	}
	for name, test := range map[string]struct {
		sets []pictureSet
		want []string
	}{
		"none":                           {},
		"within bounds":                  {sets: []pictureSet{set("a", spoolAge, 1), set("b", 0, spoolBytes-1)}},
		"too old":                        {sets: []pictureSet{set("a", spoolAge+1, 1), set("b", 0, 1)}, want: []string{"a"}},
		"too much, the oldest first":     {sets: []pictureSet{set("a", 1, 1), set("b", 2, 1), set("c", 0, spoolBytes-1)}, want: []string{"b"}},
		"one that is too much by itself": {sets: []pictureSet{set("a", 0, spoolBytes+1)}, want: []string{"a"}},
		"from the future":                {sets: []pictureSet{set("a", -time.Hour, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(surplus(test.sets, now)).To(Equal(test.want))
		})
	}
}
