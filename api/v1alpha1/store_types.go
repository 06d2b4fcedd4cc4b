// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// OutputStore is a bucket that the runners of a pool may write pictures to.
type OutputStore struct {
	// Name by which jobs choose the store.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-', beginning and ending with a letter or digit"
	Name string `json:"name"`

	// URL of the bucket, with the prefix of all keys, such as s3://pictures or
	// s3://pictures/team-a. Below it the keys are those that the paths on the outputs
	// volume would be, such as <namespace>/<directory>/<index>.png.
	// +required
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_=.-]+)*$') && !self.split('/').exists(s, s == '.' || s == '..')",message="must be s3://, a bucket, and segments of letters, digits, '_', '=', '.' and '-', such as s3://pictures/team-a"
	URL string `json:"url"`

	// Endpoint of a store that speaks S3 and is not Amazon's, such as MinIO or Ceph.
	// Credentials are sent to it: over http they and the pictures can be read on the way.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != '' && !self.matches('^[a-z]+://[^/?#]*@')",message="must be an http or https URL without a name or password, such as https://minio.example:9000"
	Endpoint string `json:"endpoint,omitempty"`

	// Region of the bucket. Without it the runners' surroundings say it, or with an
	// endpoint it is us-east-1.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Region string `json:"region,omitempty"`

	// PathStyle puts the bucket's name into the path of requests and not before the
	// endpoint's host name, as most stores that are not Amazon's want it.
	// +optional
	PathStyle bool `json:"pathStyle,omitempty"`

	// SecretRef names a Secret in the pool's namespace with the keys AWS_ACCESS_KEY_ID,
	// AWS_SECRET_ACCESS_KEY and, where there is one, AWS_SESSION_TOKEN. It is mounted into
	// the pool's runners. Without it the runners find credentials in their surroundings:
	// workload identity, instance metadata, the environment of the template.
	// +optional
	SecretRef *ObjectReference `json:"secretRef,omitempty"`
}
