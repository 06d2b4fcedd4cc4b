// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/utils/ptr"
)

const sample = `
apiVersion: generation.atelier.dev/v1alpha1
kind: GenerationJob
metadata: {name: red-apple}
spec: {modelRef: {name: fluent-emoji}, prompt: a red apple, seed: 42}
`

func TestDemoJob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options    demoOptions
		name       string
		seed, step int64 // -1 for none
	}{
		"as it is":        {demoOptions{}, "red-apple", 42, -1},
		"another prompt":  {demoOptions{prompt: "A Green Tree!"}, "a-green-tree", -1, -1},
		"prompt and seed": {demoOptions{prompt: "a tree", seed: "7"}, "a-tree", 7, -1},
		"another seed":    {demoOptions{seed: "7", steps: "10"}, "red-apple", 7, 10},
	} {
		t.Run(name, func(t *testing.T) {
			job, err := demoJob(path, test.options)
			if err != nil {
				t.Fatal(err)
			}
			seed, steps := ptr.Deref(job.Spec.Seed, -1), int64(ptr.Deref(job.Spec.Steps, -1))
			if job.Name != test.name || seed != test.seed || steps != test.step {
				t.Errorf("name %s, seed %d, steps %d, want %s, %d, %d", job.Name, seed, steps, test.name, test.seed, test.step)
			}
			manifest, err := jobManifest(job)
			if err != nil || strings.Contains(manifest, "status") || !strings.Contains(manifest, "kind: GenerationJob") {
				t.Errorf("manifest = %s, %v, want a job without a status", manifest, err)
			}
		})
	}
}

func TestDemoJobRefusesWhatIsNoNumber(t *testing.T) {
	path := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, options := range map[string]demoOptions{
		`SEED="x" is not a whole number, such as 42`:    {seed: "x"},
		`STEPS="1.5" is not a whole number, such as 20`: {steps: "1.5"},
	} {
		if _, err := demoJob(path, options); err == nil || err.Error() != want {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}

func TestSlug(t *testing.T) {
	for prompt, want := range map[string]string{
		"a red apple":             "a-red-apple",
		"  Ünï -- code! ":         "n-code",
		"猫":                       "demo",
		strings.Repeat("ab ", 30): strings.TrimSuffix(strings.Repeat("ab-", 13), "-") + "-a",
	} {
		if got := slug(prompt); got != want {
			t.Errorf("slug(%q) = %q, want %q", prompt, got, want)
		}
	}
}

func TestShowUntilEnd(t *testing.T) {
	const lines = `NAME    MODEL   PHASE       PROGRESS   RUNNER   AGE
other   m       Succeeded   100        r        1s
mine    m       Saving      95         r        1s
mine    m       Succeeded   100        r        1s
mine    m       more that is not read
`
	var out bytes.Buffer
	if err := showUntilEnd(&out, strings.NewReader(lines), "mine"); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), strings.Join(strings.SplitAfter(lines, "\n")[:4], ""); got != want {
		t.Errorf("shown:\n%swant:\n%s", got, want)
	}
	if err := showUntilEnd(&out, strings.NewReader("mine m Pending\n"), "mine"); err == nil {
		t.Error("no error though the lines ended before the job")
	}
}
