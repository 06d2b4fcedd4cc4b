// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package processnode

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// tokenRetry is the wait after a token could not be had.
const tokenRetry = 5 * time.Second

// tokenFile is a service account token, bound to its pod, in a file.
type tokenFile struct {
	client  kubernetes.Interface
	pod     *corev1.Pod
	source  *corev1.ServiceAccountTokenProjection
	path    string
	expires time.Time // of the token in the file
	written time.Time
}

// write asks for a token and puts it in the file.
func (t *tokenFile) write(ctx context.Context) error {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: t.source.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: t.pod.Name, UID: t.pod.UID,
		},
	}}
	if t.source.Audience != "" {
		request.Spec.Audiences = []string{t.source.Audience}
	}
	name := t.pod.Spec.ServiceAccountName
	token, err := t.client.CoreV1().ServiceAccounts(t.pod.Namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("token of service account %s: %w", name, err)
	}
	if err := writeFile(t.path, []byte(token.Status.Token), 0o600); err != nil {
		return err
	}
	t.written, t.expires = time.Now(), token.Status.ExpirationTimestamp.Time
	return nil
}

// keepFresh replaces the token when four fifths of its life are over, as the kubelet
// does, until ctx ends.
func (t *tokenFile) keepFresh(ctx context.Context) {
	timer := time.NewTimer(t.freshFor())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := t.write(ctx); err != nil {
			timer.Reset(tokenRetry)
			continue
		}
		timer.Reset(t.freshFor())
	}
}

func (t *tokenFile) freshFor() time.Duration {
	return max(t.expires.Sub(t.written)*4/5, tokenRetry)
}
