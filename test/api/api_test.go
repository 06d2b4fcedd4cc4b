// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package api_test applies manifests to a real API server, as users do.
package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/atelier-dev/atelier/api/v1alpha1"
	"github.com/atelier-dev/atelier/internal/diffusion"
	"github.com/atelier-dev/atelier/test/testenv"
)

var env *testenv.Environment

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	var err error
	env, err = testenv.Start()
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// apply applies a manifest with kubectl and returns what that prints.
func apply(t *testing.T, kind, name, body string) (string, error) {
	t.Helper()
	manifest := fmt.Sprintf("apiVersion: generation.atelier.dev/v1alpha1\nkind: %s\nmetadata:\n  name: %s\n  namespace: default\n%s", kind, name, body)
	path := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	return env.Kubectl("apply", "-f", path)
}

// spec indents the fields of a spec below "spec:".
func spec(fields ...string) string {
	return "spec:\n  " + strings.Join(fields, "\n  ") + "\n"
}

const (
	modelRef = "modelRef: {name: emoji}"
	prompt   = "prompt: a red apple"
	source   = "source: {path: emoji}"
)

// TestRefusals applies objects with one thing wrong: what kubectl prints must name the
// field and say what would be right.
func TestRefusals(t *testing.T) {
	job := func(field string) string { return spec(modelRef, prompt, field) }
	tests := []struct {
		kind, body string
		says       []string
	}{
		{"GenerationJob", spec(prompt), []string{"spec.modelRef: Required value"}},
		{"GenerationJob", spec(modelRef), []string{"spec.prompt: Required value"}},
		{"GenerationJob", spec(modelRef, `prompt: ""`), []string{"spec.prompt", "should be at least 1 chars long"}},
		{"GenerationJob", spec(modelRef, "prompt: "+strings.Repeat("a", 8193)), []string{"spec.prompt", "may not be more than 8192"}},
		{"GenerationJob", spec("modelRef: {name: Emoji_1}", prompt), []string{"spec.modelRef.name", "lower-case letters, digits, '-' and '.'"}},
		{"GenerationJob", spec("modelRef: {}", prompt), []string{"spec.modelRef.name: Required value"}},
		{"GenerationJob", job("poolRef: {name: ''}"), []string{"spec.poolRef.name", "at least 1 chars long"}},
		{"GenerationJob", job("poolRef: {name: default, namespace: 'a.b'}"), []string{"spec.poolRef.namespace", "must be the name of a namespace"}},
		{"GenerationJob", job("steps: 0"), []string{"spec.steps", "greater than or equal to 1"}},
		{"GenerationJob", job("steps: 1001"), []string{"spec.steps", "less than or equal to 1000"}},
		{"GenerationJob", job("steps: many"), []string{"spec.steps", "must be of type integer"}},
		{"GenerationJob", job("guidanceScale: -1"), []string{"spec.guidanceScale", "greater than or equal to 0"}},
		{"GenerationJob", job("guidanceScale: 101"), []string{"spec.guidanceScale", "less than or equal to 100"}},
		{"GenerationJob", job("seed: -1"), []string{"spec.seed", "greater than or equal to 0"}},
		{"GenerationJob", job("seed: 9007199254740992"), []string{"spec.seed", "less than or equal to 9007199254740976"}},
		{"GenerationJob", job("width: 65"), []string{"spec.width", "multiple of 8"}},
		{"GenerationJob", job("width: 0"), []string{"spec.width", "greater than or equal to 8"}},
		{"GenerationJob", job("height: 4104"), []string{"spec.height", "less than or equal to 4096"}},
		{"GenerationJob", job("scheduler: Euler"), []string{"spec.scheduler", `supported values: "DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler"`}},
		{"GenerationJob", job("promptSyntax: A1111"), []string{"spec.promptSyntax", `supported values: "Compel", "Plain"`}},
		{"GenerationJob", job("clipSkip: -1"), []string{"spec.clipSkip", "greater than or equal to 0"}},
		{"GenerationJob", job("clipSkip: 13"), []string{"spec.clipSkip", "less than or equal to 12"}},
		{"GenerationJob", job("guidanceRescale: -0.1"), []string{"spec.guidanceRescale", "greater than or equal to 0"}},
		{"GenerationJob", job("guidanceRescale: 1.1"), []string{"spec.guidanceRescale", "less than or equal to 1"}},
		{"GenerationJob", job("eta: -0.1"), []string{"spec.eta", "greater than or equal to 0"}},
		{"GenerationJob", job("eta: 1.1"), []string{"spec.eta", "less than or equal to 1"}},
		{"GenerationJob", job("generatorDevice: cuda"), []string{"spec.generatorDevice", `supported values: "CPU", "CUDA"`}},
		{"GenerationJob", job("image: {}"), []string{"spec.image.path: Required value"}},
		{"GenerationJob", job("image: {path: /etc/passwd}"), []string{"spec.image.path", "relative path", "such as album/cats/0.png"}},
		{"GenerationJob", job("image: {path: a/../../b.png}"), []string{"spec.image.path", "relative path"}},
		{"GenerationJob", spec(modelRef, prompt, "image: {path: a.png}", "strength: 0"), []string{"spec.strength", "greater than 0"}},
		{"GenerationJob", spec(modelRef, prompt, "image: {path: a.png}", "strength: 1.1"), []string{"spec.strength", "less than or equal to 1"}},
		{"GenerationJob", job("strength: 0.5"), []string{"spec.strength", "leave it out, or name an image"}},
		{"GenerationJob", job("images: 17"), []string{"spec.images", "less than or equal to 16"}},
		{"GenerationJob", job("output: {format: GIF}"), []string{"spec.output.format", `supported values: "PNG", "JPEG", "WebP"`}},
		{"GenerationJob", job("output: {directory: /etc}"), []string{"spec.output.directory", "relative path", "such as album/cats"}},
		{"GenerationJob", job("output: {directory: a/../../b}"), []string{"spec.output.directory", "relative path"}},
		{"GenerationJob", job("output: {directory: a/" + strings.Repeat("b", 256) + "}"), []string{"spec.output.directory", "255 in each segment"}},
		{"GenerationJob", job("output: {directory: " + strings.Repeat("日", 86) + "}"), []string{"spec.output.directory", "255 in each segment"}},
		{"GenerationJob", job("output: {directory: " + strings.Repeat(strings.Repeat("日", 80)+"/", 3) + "a}"), []string{"spec.output.directory", "at most 700 bytes"}},
		{"GenerationJob", job(`output: {directory: "a\x07"}`), []string{"spec.output.directory", "no control characters"}},
		{"GenerationJob", job("output: {path: /etc/passwd}"), []string{"spec.output.path", "relative path", "such as album/{name}-{seed}"}},
		{"GenerationJob", job("output: {path: '../{name}'}"), []string{"spec.output.path", "relative path"}},
		{"GenerationJob", job("output: {path: 'a//{name}'}"), []string{"spec.output.path", "relative path"}},
		{"GenerationJob", job(`output: {path: "{name}\n"}`), []string{"spec.output.path", "without control characters"}},
		{"GenerationJob", job("output: {path: 'a/{model}-{name}'}"), []string{"spec.output.path", "unknown placeholder {model}: must be one of {namespace}, {name}, {uid}, {index} and {seed}"}},
		{"GenerationJob", job("output: {path: '{Name}'}"), []string{"spec.output.path", "unknown placeholder {Name}"}},
		{"GenerationJob", job("output: {path: '{}'}"), []string{"spec.output.path", "unknown placeholder {}"}},
		{"GenerationJob", job("output: {path: '{u{name}id}'}"), []string{"spec.output.path", "must have '{' and '}' only around"}},
		{"GenerationJob", job("output: {path: '{{name}}'}"), []string{"spec.output.path", "must have '{' and '}' only around"}},
		{"GenerationJob", job("output: {path: '{name'}"), []string{"spec.output.path", "must have '{' and '}' only around"}},
		{"GenerationJob", job("output: {path: 'name}'}"), []string{"spec.output.path", "must have '{' and '}' only around"}},
		{"GenerationJob", job("output: {path: '{name}', directory: a}"), []string{"spec.output.path", "leave path or directory out"}},
		{"GenerationJob", spec(modelRef, prompt, "images: 2", "output: {path: '{name}'}"), []string{"spec.output.path", "must have {index} or {seed} where images is above 1"}},
		{"GenerationJob", job("output: {path: " + strings.Repeat("b", 251) + "}"), []string{"spec.output.path", "at most 250 bytes in each segment"}},
		{"GenerationJob", job("output: {path: 'a/" + strings.Repeat("{uid}", 7) + "'}"), []string{"spec.output.path", "{uid} with 36"}},
		{"GenerationJob", job("output: {path: '" + strings.Repeat("{namespace}", 4) + "'}"), []string{"spec.output.path", "{namespace} with up to 63"}},
		{"GenerationJob", job("output: {path: '" + strings.Repeat("{seed}", 16) + "'}"), []string{"spec.output.path", "{seed} with up to 16"}},
		{"GenerationJob", job("output: {path: '" + strings.Repeat("{name}", 36) + "'}"), []string{"spec.output.path", "{name} as it is"}},
		{"GenerationJob", job("output: {path: '" + strings.Repeat("{uid}/", 19) + "a'}"), []string{"spec.output.path", "at most 700 bytes"}},
		{"GenerationJob", job("backoffLimit: -1"), []string{"spec.backoffLimit", "greater than or equal to 0"}},
		{"GenerationJob", job("suspend: maybe"), []string{"spec.suspend", "must be of type boolean"}},
		{"GenerationJob", job("priorityClassName: ''"), []string{"spec.priorityClassName", "at least 1 chars long"}},
		{"GenerationJob", job("activeDeadlineSeconds: 0"), []string{"spec.activeDeadlineSeconds", "greater than or equal to 1"}},
		{"GenerationJob", job("stageDeadlines: {queueSeconds: 0}"), []string{"spec.stageDeadlines.queueSeconds", "greater than or equal to 1"}},
		{"GenerationJob", job("stageDeadlines: {loadSeconds: 1h}"), []string{"spec.stageDeadlines.loadSeconds", "must be of type integer"}},
		{"GenerationJob", job("stageDeadlines: {generateSeconds: 31536001}"), []string{"spec.stageDeadlines.generateSeconds", "less than or equal to 31536000"}},
		{"GenerationJob", job("ttlSecondsAfterFinished: -1"), []string{"spec.ttlSecondsAfterFinished", "greater than or equal to 0"}},
		{"GenerationJob", job("promt: x"), []string{`unknown field "spec.promt"`}},
		{"Model", "", []string{"spec: Required value"}},
		{"Model", spec("source: {path: ../up}"), []string{"spec.source.path", "relative path", "such as stable-diffusion-v1-5"}},
		{"Model", spec("source: {path: /models}"), []string{"spec.source.path", "relative path"}},
		{"Model", spec("source: {}"), []string{"spec.source", "exactly one of the fields in [path oci http bucket] must be set"}},
		{"Model", spec("source: {path: emoji, oci: {reference: 'a/b:c'}}"), []string{"spec.source", "exactly one of the fields in [path oci http bucket] must be set"}},
		{"Model", spec("source: {oci: {}}"), []string{"spec.source.oci.reference: Required value"}},
		{"Model", spec("source: {oci: {reference: 'no-repository'}}"), []string{"spec.source.oci.reference", "such as ghcr.io/organisation/model:v1"}},
		{"Model", spec("source: {oci: {reference: 'oci://ghcr.io/a/b:c'}}"), []string{"spec.source.oci.reference", "must be a registry, a repository"}},
		{"Model", spec("source: {oci: {reference: 'ghcr.io/a/../b:c'}}"), []string{"spec.source.oci.reference", "must be a registry, a repository"}},
		{"Model", spec("source: {oci: {reference: 'ghcr.io/a/b', digest: 'sha256:ab'}}"), []string{"spec.source.oci.digest", "should match"}},
		{"Model", spec("source: {http: {url: 'https://example.com/m.tar'}}"), []string{"spec.source.http.sha256: Required value"}},
		{"Model", spec("source: {http: {url: 'ftp://example.com/m.tar', sha256: '" + strings.Repeat("a", 64) + "'}}"), []string{"spec.source.http.url", "must be an http or https URL"}},
		{"Model", spec("source: {http: {url: 'https://me:secret@example.com/m.tar', sha256: '" + strings.Repeat("a", 64) + "'}}"), []string{"spec.source.http.url", "without a name or password"}},
		{"Model", spec("source: {bucket: {}}"), []string{"spec.source.bucket.url: Required value"}},
		{"Model", spec("source: {bucket: {url: 'https://models.example/sd15'}}"), []string{"spec.source.bucket.url", "such as s3://models/stable-diffusion-v1-5"}},
		{"Model", spec("source: {bucket: {url: 'file:///models/sd15'}}"), []string{"spec.source.bucket.url", "must be s3://, gs:// or azblob://"}},
		{"Model", spec("source: {bucket: {url: 's3://models/../sd15'}}"), []string{"spec.source.bucket.url", "must be s3://, gs:// or azblob://"}},
		{"Model", spec("source: {bucket: {url: 's3://models', sha256: 'sha256:ab'}}"), []string{"spec.source.bucket.sha256", "should match"}},
		{"Model", spec("source: {bucket: {url: 's3://models', endpoint: 'https://minio.example?a=b'}}"), []string{"spec.source.bucket.endpoint", "without a name, password or query"}},
		{"Model", spec("source: {bucket: {url: 'gs://models', region: eu-central-1}}"), []string{"spec.source.bucket.region", "only buckets of s3:// are asked for by region"}},
		{"Model", spec("source: {bucket: {url: 'gs://models', pathStyle: true}}"), []string{"spec.source.bucket.pathStyle", "only s3:// has two styles"}},
		{"Model", spec(source, "defaults: {width: 12}"), []string{"spec.defaults.width", "multiple of 8"}},
		{"Model", spec(source, "defaults: {clipSkip: 13}"), []string{"spec.defaults.clipSkip", "less than or equal to 12"}},
		{"Model", spec(source, "defaults: {guidanceRescale: 2}"), []string{"spec.defaults.guidanceRescale", "less than or equal to 1"}},
		{"RunnerPool", spec("minRunners: 2"), []string{"spec.minRunners", "must not be above maxRunners"}},
		{"RunnerPool", spec("minRunners: 3", "maxRunners: 2"), []string{"spec.minRunners", "must not be above maxRunners"}},
		{"RunnerPool", spec("maxRunners: 0"), []string{"spec.maxRunners", "greater than or equal to 1"}},
		{"RunnerPool", spec("slots: 17"), []string{"spec.slots", "less than or equal to 16"}},
		{"RunnerPool", spec("idleTimeout: soon"), []string{"spec.idleTimeout", "duration"}},
		{"RunnerPool", spec("idleTimeout: 1d"), []string{"spec.idleTimeout", "must be a duration", "such as 10m"}},
		{"RunnerPool", spec("idleTimeout: 9999999h"), []string{"spec.idleTimeout"}},
		{"RunnerPool", spec("idleTimeout: -1s"), []string{"spec.idleTimeout", "must not be negative, such as 10m"}},
		{"RunnerPool", spec("maxAffinityWait: -1s"), []string{"spec.maxAffinityWait", "must not be negative, such as 30s"}},
		{"RunnerPool", spec("unreadyTimeout: 9s"), []string{"spec.unreadyTimeout", "must be at least 10s, such as 2m"}},
		{"RunnerPool", spec("maxUnavailable: 0"), []string{"spec.maxUnavailable", "greater than or equal to 1"}},
		{"RunnerPool", spec("suspend: soon"), []string{"spec.suspend", "must be of type boolean"}},
		{"RunnerPool", spec("allowedNamespaces: {from: Some}"), []string{"spec.allowedNamespaces.from", `supported values: "Same", "All", "Selector"`}},
		{"RunnerPool", spec("allowedNamespaces: {from: Selector}"), []string{"spec.allowedNamespaces.selector", "must be set where from is Selector"}},
		{"RunnerPool", spec("allowedNamespaces: {from: All, selector: {}}"), []string{"spec.allowedNamespaces.selector", "and nowhere else"}},
		{"RunnerPool", spec("defaultStore: pictures"), []string{"spec.defaultStore", "must be the name of one of spec.stores"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'pictures'}]"), []string{"spec.stores[0].url", "such as s3://pictures/team-a"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 's3://pictures/a/../b'}]"), []string{"spec.stores[0].url", "such as s3://pictures/team-a"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 's3://pictures', endpoint: 'https://me:secret@minio.example'}]"), []string{"spec.stores[0].endpoint", "without a name, password or query"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'ftp://pictures'}]"), []string{"spec.stores[0].url", "must be s3://, gs:// or azblob://", "or file:///, which is the outputs volume"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'file:///etc'}]"), []string{"spec.stores[0].url", "or file:///, which is the outputs volume"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'file:///', secretRef: {name: b}}]"), []string{"spec.stores[0].secretRef", "must be left out: file:///"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'file:///', endpoint: 'https://minio.example'}]"), []string{"spec.stores[0].endpoint", "must be left out: file:///"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'gs://pictures', region: eu}]"), []string{"spec.stores[0].region", "must be left out: only buckets of s3://"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'azblob://pictures', secretRef: {name: b}, pathStyle: true}]"), []string{"spec.stores[0].pathStyle", "must be left out: only s3://"}},
		{"RunnerPool", spec("stores: [{name: pictures, url: 'azblob://pictures'}]"), []string{"spec.stores[0].endpoint", "such as https://account.blob.core.windows.net"}},
		{"RunnerPool", spec("defaultStore: models", "stores: [{name: models, url: 's3://models', readOnly: true}]"), []string{"spec.defaultStore", "that is not readOnly"}},
		{"RunnerPool", spec("serviceAccountAnnotations: {'a b': c}"), []string{"spec.serviceAccountAnnotations", "such as eks.amazonaws.com/role-arn"}},
		{"RunnerPool", spec("serviceAccountAnnotations: {'kubernetes.io/enforce-mountable-secrets': 'true'}"), []string{"spec.serviceAccountAnnotations", "must not be those of Kubernetes or of Atelier"}},
		{"RunnerPool", spec("serviceAccountAnnotations: {'generation.atelier.dev/pool-annotations': 'a'}"), []string{"spec.serviceAccountAnnotations", "must not be those of Kubernetes or of Atelier"}},
		{"RunnerPool", spec("serviceAccountAnnotations: {a: " + strings.Repeat("b", 2049) + "}"), []string{"spec.serviceAccountAnnotations", "at most 2048 characters"}},
		{"RunnerPool", spec("template: [1]"), []string{"spec.template", "must be of type object"}},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+strings.TrimSpace(tt.says[0]), func(t *testing.T) {
			g := NewWithT(t)
			out, err := apply(t, tt.kind, "refused", tt.body)
			g.Expect(err).To(HaveOccurred(), out)
			for _, text := range tt.says {
				g.Expect(out).To(ContainSubstring(text))
			}
		})
	}
}

// TestEveryParameter applies objects that use every field, and each scheduler.
func TestEveryParameter(t *testing.T) {
	g := NewWithT(t)
	out, err := apply(t, "GenerationJob", "everything", spec(modelRef, prompt, "negativePrompt: blurry", "promptSyntax: Plain", "clipSkip: 1",
		"image: {path: album/cats/0.png}", "strength: 0.6", "steps: 20", "guidanceScale: 5", "guidanceRescale: 0.7", "seed: 1", "generatorDevice: CUDA",
		"width: 512", "height: 768", "eta: 0.5", "images: 2", "output: {directory: album, format: WebP}"))
	g.Expect(err).NotTo(HaveOccurred(), out)
	out, err = apply(t, "Model", "everything", spec(source, "defaults: {steps: 20, guidanceScale: 5, guidanceRescale: 0.7, clipSkip: 1, promptSyntax: Plain, width: 512, height: 512}"))
	g.Expect(err).NotTo(HaveOccurred(), out)
	for _, class := range diffusion.Classes() {
		out, err := apply(t, "GenerationJob", strings.ToLower(class), spec(modelRef, prompt, "scheduler: "+class))
		g.Expect(err).NotTo(HaveOccurred(), out)
	}
}

// TestPathsOfPictures applies jobs whose paths are as long as they may be, each with a name
// of 7 letters.
func TestPathsOfPictures(t *testing.T) {
	for i, fields := range [][]string{
		{"output: {path: '{namespace}/{name}/{uid}/{index}-{seed}'}"},
		{"output: {path: 'a pple, the {name}'}"},
		{"output: {path: '" + strings.Repeat("b", 250) + "'}"},
		{"output: {path: '" + strings.Repeat("{name}", 35) + "abcde'}"},
		{"output: {path: '" + strings.Repeat("{uid}/", 18) + strings.Repeat("a", 34) + "'}"},
		{"images: 16", "output: {path: '{seed}'}"},
		{"images: 2", "output: {path: 'a/{index}'}"},
		{"images: 1", "output: {path: a}"},
		{"output: {directory: " + strings.Repeat("a", 255) + "/" + strings.Repeat("b", 255) + "}"},
		{"output: {directory: '{name}'}"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			out, err := apply(t, "GenerationJob", fmt.Sprintf("paths-%d", i), spec(append([]string{modelRef, prompt}, fields...)...))
			NewWithT(t).Expect(err).NotTo(HaveOccurred(), out)
		})
	}
}

func TestModelSources(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	for i, source := range []string{
		"path: a/b",
		"oci: {reference: ghcr.io/organisation/model}",
		"oci: {reference: 'localhost:5000/model:v1.2_3', insecure: true}",
		"oci: {reference: 'ghcr.io/a/b/c_d--e.f:v1@sha256:" + sum + "', digest: 'sha256:" + sum + "'}",
		"http: {url: 'https://example.com:8443/a/m.tar.gz?v=2&user=me@here', sha256: '" + sum + "'}",
		"bucket: {url: 's3://models/large/sd15', sha256: '" + sum + "', endpoint: 'https://minio.example:9000', region: eu, pathStyle: true}",
		"bucket: {url: 'gs://models'}",
		"bucket: {url: 'azblob://models/sd15', endpoint: 'https://account.blob.core.windows.net'}",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			out, err := apply(t, "Model", fmt.Sprintf("source-%d", i), spec("source: {"+source+"}"))
			NewWithT(t).Expect(err).NotTo(HaveOccurred(), out)
		})
	}
}

func TestStores(t *testing.T) {
	out, err := apply(t, "RunnerPool", "stores", spec("defaultStore: s3", "serviceAccountAnnotations: {eks.amazonaws.com/role-arn: 'arn:aws:iam::1:role/a', plain: b}",
		`stores:
  - {name: s3, url: 's3://pictures/team-a', endpoint: 'https://minio.example:9000', region: eu, pathStyle: true, secretRef: {name: a}}
  - {name: gs, url: 'gs://pictures_of_ours/a'}
  - {name: private, url: 'gs://pictures', endpoint: 'https://storage.example', secretRef: {name: b}}
  - {name: azure, url: 'azblob://pictures', secretRef: {name: c}}
  - {name: identity, url: 'azblob://pictures', endpoint: 'https://account.blob.core.windows.net'}
  - {name: models, url: 's3://models', readOnly: true}
  - {name: volume, url: 'file:///'}`))
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), out)
}

func TestPoolNamesAreShort(t *testing.T) {
	g := NewWithT(t)
	for _, name := range []string{"a.b", strings.Repeat("a", 53)} {
		out, err := apply(t, "RunnerPool", name, "spec: {}\n")
		g.Expect(err).To(HaveOccurred(), out)
		g.Expect(out).To(And(ContainSubstring("metadata.name"), ContainSubstring("at most 52 lower-case letters")))
	}
	out, err := apply(t, "RunnerPool", strings.Repeat("a", 52), "spec: {}\n")
	g.Expect(err).NotTo(HaveOccurred(), out)
}

// TestJobSpecIsImmutable changes, adds and removes fields: what kubectl prints must name the
// field.
func TestJobSpecIsImmutable(t *testing.T) {
	g := NewWithT(t)
	out, err := apply(t, "GenerationJob", "immutable", spec(modelRef, prompt, "steps: 3", "output: {directory: a}"))
	g.Expect(err).NotTo(HaveOccurred(), out)
	for field, body := range map[string]string{
		"prompt":                spec(modelRef, "prompt: a green apple", "steps: 3", "output: {directory: a}"),
		"modelRef":              spec("modelRef: {name: other}", prompt, "steps: 3", "output: {directory: a}"),
		"steps":                 spec(modelRef, prompt, "output: {directory: a}"),
		"width":                 spec(modelRef, prompt, "steps: 3", "output: {directory: a}", "width: 64"),
		"output":                spec(modelRef, prompt, "steps: 3", "output: {directory: b}"),
		"stageDeadlines":        spec(modelRef, prompt, "steps: 3", "output: {directory: a}", "stageDeadlines: {loadSeconds: 5}"),
		"precomputeEmbedding":   spec(modelRef, prompt, "steps: 3", "output: {directory: a}", "precomputeEmbedding: false"),
		"activeDeadlineSeconds": spec(modelRef, prompt, "steps: 3", "output: {directory: a}", "activeDeadlineSeconds: 5"),
	} {
		out, err = apply(t, "GenerationJob", "immutable", body)
		g.Expect(err).To(HaveOccurred(), field)
		g.Expect(out).To(And(ContainSubstring("spec."+field+":"), ContainSubstring("can't be changed after creation; create another job")))
	}
	out, err = env.Kubectl("label", "generationjob", "immutable", "a=b")
	g.Expect(err).NotTo(HaveOccurred(), out)
}

func TestAJobCanBeSuspendedResumedAndCancelledOnce(t *testing.T) {
	g := NewWithT(t)
	out, err := apply(t, "GenerationJob", "mutable", spec(modelRef, prompt))
	g.Expect(err).NotTo(HaveOccurred(), out)
	for _, fields := range [][]string{{"suspend: true"}, {"suspend: false"}, {}, {"suspend: true", "cancel: false"}, {"suspend: true", "cancel: true"}, {"cancel: true"}} {
		out, err = apply(t, "GenerationJob", "mutable", spec(append([]string{modelRef, prompt}, fields...)...))
		g.Expect(err).NotTo(HaveOccurred(), out)
	}
	for _, fields := range [][]string{{}, {"cancel: false"}} {
		out, err = apply(t, "GenerationJob", "mutable", spec(append([]string{modelRef, prompt}, fields...)...))
		g.Expect(err).To(HaveOccurred())
		g.Expect(out).To(And(ContainSubstring("spec.cancel:"), ContainSubstring("a cancelled job can't be resumed; create another job")))
	}
}

// TestEveryFieldOfAJobIsKept reads the CRD: a new field needs its rule too.
func TestEveryFieldOfAJobIsKept(t *testing.T) {
	g := NewWithT(t)
	out, err := env.Kubectl("get", "crd", "generationjobs.generation.atelier.dev", "-o", "json")
	g.Expect(err).NotTo(HaveOccurred(), out)
	var crd apiextensionsv1.CustomResourceDefinition
	g.Expect(json.Unmarshal([]byte(out), &crd)).To(Succeed())
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	ruled := map[string]bool{}
	for _, rule := range spec.XValidations {
		field := strings.TrimPrefix(rule.FieldPath, ".")
		kept := strings.Contains(rule.Rule, "oldSelf."+field) || strings.Contains(rule.Rule, "oldSelf.?"+field)
		ruled[field] = ruled[field] || kept
	}
	g.Expect(spec.Properties).To(HaveKey("prompt"))
	for field := range spec.Properties {
		g.Expect(field == "suspend" || ruled[field]).To(BeTrue(), "%s has no rule that keeps it: add one to GenerationJobSpec", field)
	}
}

func TestPrecomputeEmbeddingWarns(t *testing.T) {
	g := NewWithT(t)
	// A policy takes effect a moment after it was created.
	g.Eventually(func() string {
		out, err := apply(t, "GenerationJob", "precompute", spec(modelRef, prompt, "precomputeEmbedding: true"))
		g.Expect(err).NotTo(HaveOccurred(), out)
		deleted, err := env.Kubectl("delete", "generationjob", "precompute")
		g.Expect(err).NotTo(HaveOccurred(), deleted)
		return out
	}, "20s").Should(And(
		ContainSubstring("Warning: "),
		ContainSubstring(v1alpha1.PlaceholderEmbeddingWarning),
		ContainSubstring("generationjob.generation.atelier.dev/precompute created"),
	))
	out, err := apply(t, "GenerationJob", "plain", spec(modelRef, prompt, "precomputeEmbedding: false"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(out).NotTo(ContainSubstring("Warning"))
}

// TestNewObjectsAreInProgress sees to it that GitOps tools do not take an object that no
// manager has looked at for done.
func TestNewObjectsAreInProgress(t *testing.T) {
	g := NewWithT(t)
	for kind, body := range map[string]string{"GenerationJob": spec(modelRef, prompt), "Model": spec(source), "RunnerPool": "spec: {}\n"} {
		out, err := apply(t, kind, "unseen", body)
		g.Expect(err).NotTo(HaveOccurred(), out)
		out, err = env.Kubectl("get", kind, "unseen", "-o", "jsonpath={.status.observedGeneration}")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(out).To(Equal("-1"))
	}
}

// TestWhatPeopleSee checks the columns, short names and selectable fields.
func TestWhatPeopleSee(t *testing.T) {
	g := NewWithT(t)
	out, err := apply(t, "GenerationJob", "seen", spec(modelRef, prompt))
	g.Expect(err).NotTo(HaveOccurred(), out)
	out, err = env.Kubectl("patch", "generationjob", "seen", "--subresource=status", "--type=merge", "-p",
		`{"status": {"phase": "Generating", "progress": 42, "runner": {"name": "default-0", "podUID": "1"}}}`)
	g.Expect(err).NotTo(HaveOccurred(), out)

	out, err = env.Kubectl("get", "gj", "--field-selector", "status.phase=Generating,spec.modelRef.name=emoji")
	g.Expect(err).NotTo(HaveOccurred(), out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	g.Expect(lines).To(HaveLen(2), out)
	g.Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "MODEL", "PHASE", "PROGRESS", "RUNNER", "AGE"}))
	g.Expect(strings.Fields(lines[1])[:5]).To(Equal([]string{"seen", "emoji", "Generating", "42", "default-0"}))

	out, err = env.Kubectl("get", "gj", "--field-selector", "status.phase=Succeeded")
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Expect(out).To(ContainSubstring("No resources found"))

	for _, tt := range []struct {
		kind, body string
		columns    []string
	}{
		{"Model", spec(source), []string{"NAME", "FAMILY", "PATH", "VERIFIED", "LOADED", "LOADABLE", "AGE"}},
		{"RunnerPool", "spec: {}\n", []string{"NAME", "RUNNERS", "READY", "BUSY", "PENDING", "AGE"}},
		{"Runner", spec("poolName: seen", "podUID: '1'"), []string{"NAME", "POOL", "READY", "HEALTHY", "DEVICE", "MODEL", "PHASE", "AGE"}},
	} {
		out, err := apply(t, tt.kind, "seen", tt.body)
		g.Expect(err).NotTo(HaveOccurred(), out)
		out, err = env.Kubectl("get", tt.kind, "seen")
		g.Expect(err).NotTo(HaveOccurred(), out)
		header, _, _ := strings.Cut(out, "\n")
		g.Expect(strings.Fields(header)).To(Equal(tt.columns))
	}
	for short, name := range map[string]string{"gm": "model", "rp": "runnerpool"} {
		out, err := env.Kubectl("get", short, "seen", "-o", "name")
		g.Expect(err).NotTo(HaveOccurred(), out)
		g.Expect(out).To(HavePrefix(name + ".generation.atelier.dev/"))
	}
	out, err = env.Kubectl("explain", "gj.spec.guidanceScale")
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Expect(out).To(ContainSubstring("how strongly the picture follows the prompt"))
}

// TestSamples applies config/samples.
func TestSamples(t *testing.T) {
	g := NewWithT(t)
	out, err := env.Kubectl("apply", "--server-side", "-k", "config/samples")
	g.Expect(err).NotTo(HaveOccurred(), out)
}

// TestApplyIsRepeatable applies config/default again: nothing changes.
func TestApplyIsRepeatable(t *testing.T) {
	g := NewWithT(t)
	out, err := env.Kubectl("diff", "--server-side", "-k", "config/default")
	g.Expect(err).NotTo(HaveOccurred(), out)
}
