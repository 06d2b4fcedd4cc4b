// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// OutputStore is a place that the runners of a pool may write pictures to, and read models
// from: a bucket, or the outputs volume under a name.
// +kubebuilder:validation:XValidation:rule="!has(self.region) || self.url.startsWith('s3://')",message="must be left out: only buckets of s3:// are asked for by region",fieldPath=".region"
// +kubebuilder:validation:XValidation:rule="!has(self.pathStyle) || !self.pathStyle || self.url.startsWith('s3://')",message="must be left out: only s3:// has two styles",fieldPath=".pathStyle"
// +kubebuilder:validation:XValidation:rule="!has(self.endpoint) || !self.url.startsWith('file:')",message="must be left out: file:/// is the outputs volume",fieldPath=".endpoint"
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !self.url.startsWith('file:')",message="must be left out: file:/// is the outputs volume",fieldPath=".secretRef"
// +kubebuilder:validation:XValidation:rule="has(self.endpoint) || has(self.secretRef) || !self.url.startsWith('azblob://')",message="must be that of the storage account where no secretRef names it, such as https://account.blob.core.windows.net",fieldPath=".endpoint"
type OutputStore struct {
	// Name by which jobs choose the store.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-', beginning and ending with a letter or digit"
	Name string `json:"name"`

	// URL of the bucket, with the prefix of all keys: s3://pictures/team-a for Amazon S3
	// and what speaks its language, gs:// for Google Cloud Storage, azblob://container for
	// Azure Blob Storage. Below it the keys are those that the paths on the outputs
	// volume would be, such as <namespace>/<directory>/<index>.png. file:/// is the outputs volume
	// itself, for jobs to choose where there is a defaultStore.
	// +required
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^((s3|gs|azblob)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[A-Za-z0-9_=.-]+)*|file:///)$') && !self.split('/').exists(s, s == '.' || s == '..')",message="must be s3://, gs:// or azblob://, a bucket, and segments of letters, digits, '_', '=', '.' and '-', such as s3://pictures/team-a; or file:///, which is the outputs volume"
	URL string `json:"url"`

	// Endpoint of a store that is not the cloud's own: of one that speaks S3, such as MinIO
	// or Ceph, or a private one of Google's. For azblob:// it is that of the storage
	// account, such as https://account.blob.core.windows.net, and may be left out where the
	// Secret names the account. Credentials are sent to it: over http they and the
	// pictures can be read on the way.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && !self.matches('^[a-z]+://[^/?#]*@') && !self.matches('[?#]')",message="must be an http or https URL without a name, password or query, such as https://minio.example:9000"
	Endpoint string `json:"endpoint,omitempty"`

	// Region of a bucket of s3://. Without it the runners' surroundings say it, or with an
	// endpoint it is us-east-1.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Region string `json:"region,omitempty"`

	// PathStyle puts the bucket's name into the path of requests and not before the
	// endpoint's host name, as most stores that are not Amazon's want it.
	// +optional
	PathStyle bool `json:"pathStyle,omitempty"`

	// ReadOnly keeps jobs from choosing the store: it is there for the models in it.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`

	// SecretRef names a Secret in the pool's namespace. For s3:// it has the keys
	// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there is one, AWS_SESSION_TOKEN;
	// for gs:// GOOGLE_APPLICATION_CREDENTIALS with the JSON key of a service account; for
	// azblob:// AZURE_STORAGE_ACCOUNT and either AZURE_STORAGE_KEY or
	// AZURE_STORAGE_SAS_TOKEN. It is mounted into the pool's runners. Without it the
	// runners find credentials in their surroundings: workload identity, instance
	// metadata, the environment of the template.
	// +optional
	SecretRef *ObjectReference `json:"secretRef,omitempty"`
}
