// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ModelSpec says where a model is and what a job gets that leaves a parameter out.
type ModelSpec struct {
	// Source says where the model directory is.
	// +required
	Source ModelSource `json:"source"`

	// Defaults apply to jobs that leave a parameter out.
	// +optional
	Defaults *ModelDefaults `json:"defaults,omitempty"`
}

// ModelSource says where a model directory in the diffusers ONNX layout is (with a
// model_index.json at its top). Exactly one of its fields is set.
// +kubebuilder:validation:ExactlyOneOf=path;oci;http;bucket
type ModelSource struct {
	// Path of the directory, relative to the pool's models volume.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && self.split('/').all(s, s != '' && s != '.' && s != '..')",message="must be a relative path without empty, '.' or '..' segments, such as stable-diffusion-v1-5"
	Path string `json:"path,omitempty"`

	// OCI is an artifact in a registry, which runners fetch into their cache.
	// +optional
	OCI *OCISource `json:"oci,omitempty"`

	// HTTP is an archive on a web server, which runners fetch into their cache.
	// +optional
	HTTP *HTTPSource `json:"http,omitempty"`

	// Bucket is a folder of a bucket, which runners fetch into their cache.
	// +optional
	Bucket *BucketSource `json:"bucket,omitempty"`
}

// OCISource is a model that is an artifact in an OCI registry: made with oras push, or by
// the CNCF model specification (ModelPack).
type OCISource struct {
	// Reference of the artifact, such as ghcr.io/organisation/model:v1. What a tag
	// names is looked up once and recorded in status.digest; the next generation of
	// the Model looks again.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?$')",message="must be a registry, a repository, and a tag or a sha256 digest, such as ghcr.io/organisation/model:v1"
	Reference string `json:"reference"`

	// Digest of the manifest: only these very bytes are used, whatever the tag names.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	Digest string `json:"digest,omitempty"`

	// Insecure reads without TLS, and sends no credentials then.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
}

// HTTPSource is a model that is an archive on a web server: tar, tar.gz, tar.zst or zip.
type HTTPSource struct {
	// URL of the archive. It must not hold credentials: the pool's runners have them.
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && !self.matches('^[a-z]+://[^/?#]*@')",message="must be an http or https URL without a name or password, such as https://example.com/model.tar.gz"
	URL string `json:"url"`

	// SHA256 of the archive in hexadecimal.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-f0-9]{64}$`
	SHA256 string `json:"sha256"`
}

// BucketSource is a model that is a folder of a bucket, with a file SHA256SUMS in it that
// lists all others, as sha256sum writes it.
// +kubebuilder:validation:XValidation:rule="!has(self.region) || self.url.startsWith('s3://')",message="must be left out: only buckets of s3:// are asked for by region",fieldPath=".region"
// +kubebuilder:validation:XValidation:rule="!has(self.pathStyle) || !self.pathStyle || self.url.startsWith('s3://')",message="must be left out: only s3:// has two styles",fieldPath=".pathStyle"
type BucketSource struct {
	// URL of the folder, such as s3://models/stable-diffusion-v1-5, gs://… or azblob://….
	// Credentials are those of the store in the pool's spec.stores that has this url or
	// one above it, and the same endpoint.
	// +required
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^(s3|gs|azblob)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9_=.-]+)*$') && !self.split('/').exists(s, s == '.' || s == '..')",message="must be s3://, gs:// or azblob://, a bucket, and segments of letters, digits, '_', '=', '.' and '-', such as s3://models/stable-diffusion-v1-5"
	URL string `json:"url"`

	// SHA256 of SHA256SUMS in hexadecimal: only the very bytes that it lists are used.
	// Without it that of the first runner that looks is recorded in status.digest; the
	// next generation of the Model looks again.
	// +optional
	// +kubebuilder:validation:Pattern=`^[a-f0-9]{64}$`
	SHA256 string `json:"sha256,omitempty"`

	// Endpoint of a store that is not the cloud's own, as in a pool's stores. Where no
	// store of the pool has it too, it is asked without credentials.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && !self.matches('^[a-z]+://[^/?#]*@') && !self.matches('[?#]')",message="must be an http or https URL without a name, password or query, such as https://minio.example:9000"
	Endpoint string `json:"endpoint,omitempty"`

	// Region of a bucket of s3://. Without it that of the pool's store, or as there.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Region string `json:"region,omitempty"`

	// PathStyle puts the bucket's name into the path of requests, as in a pool's stores.
	// +optional
	PathStyle bool `json:"pathStyle,omitempty"`
}

// ModelDefaults are the parameters a job gets that leaves them out.
type ModelDefaults struct {
	// Steps is the number of denoising steps.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Steps *int32 `json:"steps,omitempty"`

	// GuidanceScale of classifier-free guidance; 1 or less turns it off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	GuidanceScale *float64 `json:"guidanceScale,omitempty"`

	// GuidanceRescale says how far the contrast that guidance adds is taken back, as
	// diffusers' guidance_rescale.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	GuidanceRescale *float64 `json:"guidanceRescale,omitempty"`

	// ClipSkip is how many layers are left out at the end of the text encoder.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=12
	ClipSkip *int32 `json:"clipSkip,omitempty"`

	// PromptSyntax says how prompts are read: Compel or Plain.
	// +optional
	PromptSyntax *PromptSyntax `json:"promptSyntax,omitempty"`

	// Width of the pictures in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:validation:MultipleOf=8
	Width *int32 `json:"width,omitempty"`

	// Height of the pictures in pixels.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=4096
	// +kubebuilder:validation:MultipleOf=8
	Height *int32 `json:"height,omitempty"`

	// Scheduler is the diffusers class name of the noise scheduler.
	// +optional
	Scheduler *Scheduler `json:"scheduler,omitempty"`
}

// ModelStatus is what the manager says of a model.
type ModelStatus struct {
	// Conditions: Ready says that jobs may use the model; Loadable says what the
	// last runner that tried to load it found, Unknown until one has; Verified says
	// whether a runner compared all bytes with a digest.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// ObservedGeneration is the generation of the spec this status speaks of, -1 until
	// the manager has seen the model.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// LoadedRunners is the number of runners that have the model loaded.
	// +optional
	// +kubebuilder:default=0
	LoadedRunners int32 `json:"loadedRunners"`

	// Digest names the very bytes that all runners use for this generation: the one
	// in the spec, or what its reference named when the first runner looked.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Digest string `json:"digest,omitempty"`

	// ModelFacts are what a runner found when it loaded the model.
	ModelFacts `json:",inline"`
}

// ModelFacts are what a model's files say of it.
type ModelFacts struct {
	// Family is the kind of model, such as Stable Diffusion XL.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Family string `json:"family,omitempty"`

	// SizeBytes is the size of all files of the model directory.
	// +optional
	SizeBytes int64 `json:"sizeBytes,omitempty"`

	// Parameters is the number of weights in all networks.
	// +optional
	Parameters int64 `json:"parameters,omitempty"`
}

// Model is a diffusion model that jobs can name. A model is loaded by a runner when
// the first job needs it, never before.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gm,categories=atelier
// +kubebuilder:printcolumn:name="Family",type=string,JSONPath=`.status.family`
// +kubebuilder:printcolumn:name="Path",type=string,JSONPath=`.spec.source.path`
// +kubebuilder:printcolumn:name="Reference",type=string,JSONPath=`.spec.source.oci.reference`,priority=1
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.source.http.url`,priority=1
// +kubebuilder:printcolumn:name="Bucket",type=string,JSONPath=`.spec.source.bucket.url`,priority=1
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.digest`,priority=1
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].status`
// +kubebuilder:printcolumn:name="Loaded",type=integer,JSONPath=`.status.loadedRunners`
// +kubebuilder:printcolumn:name="Loadable",type=string,JSONPath=`.status.conditions[?(@.type=="Loadable")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Model struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// Spec says where the model is.
	// +required
	Spec ModelSpec `json:"spec"`

	// Status is what the manager says of the model.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status ModelStatus `json:"status,omitzero"`
}

// ModelList is a list of Models.
//
// +kubebuilder:object:root=true
type ModelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// Items of the list.
	Items []Model `json:"items"`
}
