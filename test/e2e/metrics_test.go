// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// Where manager and runner serve metrics, as their pods declare it.
const (
	managerPort = 8443
	runnerPort  = 8080
)

// answer is what a server said; without a code why it said nothing.
type answer struct {
	code int
	text string
}

// ask sends a request to a port of a pod, with a token or without.
func ask(ctx context.Context, scheme string, pod *corev1.Pod, port int, token, method, path string) answer {
	GinkgoHelper()
	address, err := cluster.Address(pod, port)
	Expect(err).NotTo(HaveOccurred())
	request, err := http.NewRequestWithContext(ctx, method, scheme+"://"+address+path, http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// The manager makes a certificate of its own at each start.
	asker := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := asker.Do(request)
	if err != nil {
		return answer{text: err.Error()}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{text: err.Error()}
	}
	return answer{response.StatusCode, string(text)}
}

// managerMetrics reads the manager's metrics as one who may: an account of the studio's
// that is bound to the role atelier-metrics-reader.
func (s *studio) managerMetrics(ctx context.Context) answer {
	GinkgoHelper()
	const account = "scraper"
	Expect(api.Create(ctx, serviceAccount(s.namespace, account))).To(Succeed())
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.namespace + "-" + account},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "atelier-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.namespace, Name: account}},
	}
	Expect(api.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, binding)).To(Succeed()) })
	// The manager may still be making its certificate, or the API server not know the binding
	// yet.
	var got answer
	Eventually(func() int {
		got = ask(ctx, "https", managerPod(ctx), managerPort, s.token(ctx, account), http.MethodGet, "/metrics")
		return got.code
	}).Should(Equal(http.StatusOK), got.text)
	return got
}

var _ = Describe("Metrics", func() {
	It("of the manager are for those who may read them", func(ctx SpecContext) {
		s := newStudio(ctx)
		get := func(scheme, token string) answer {
			return ask(ctx, scheme, managerPod(ctx), managerPort, token, http.MethodGet, "/metrics")
		}
		Eventually(func() int { return get("https", "").code }).Should(Equal(http.StatusUnauthorized), "it makes a certificate before it serves")
		for who, refused := range map[string]struct {
			scheme, token string
			codes         []int
		}{
			"nobody": {"https", "", []int{http.StatusUnauthorized}},
			// controller-runtime's filter takes a token that nobody made for a fault of its own.
			"one with a made-up token":     {"https", "made-up", []int{http.StatusInternalServerError}},
			"an account without the right": {"https", s.token(ctx, "default"), []int{http.StatusForbidden}},
			// The connection is closed, so that the answer may not be read any more.
			"one who asks without TLS": {"http", s.token(ctx, "default"), []int{http.StatusBadRequest, 0}},
		} {
			got := get(refused.scheme, refused.token)
			Expect(refused.codes).To(ContainElement(got.code), "%s: %s", who, got.text)
			Expect(got.text).NotTo(ContainSubstring("atelier_"), who)
		}
		Expect(s.managerMetrics(ctx).text).To(ContainSubstring("\natelier_"))
	}, SpecTimeout(time.Minute))

	It("of a runner are for everyone whom the network lets through, and so is nothing else", func(ctx SpecContext) {
		s := newStudio(ctx)
		s.openPool(ctx, 1)
		s.readyRunner(ctx, "default-0")
		pod := s.firstPod(ctx)
		got := ask(ctx, "http", pod, runnerPort, "", http.MethodGet, "/metrics")
		Expect(got.code).To(Equal(http.StatusOK))
		Expect(got.text).To(ContainSubstring("\natelier_runner_"))
		for path, code := range map[string]int{
			"/healthz": http.StatusOK, "/readyz": http.StatusOK,
			"/": http.StatusNotFound, "/debug/pprof/": http.StatusNotFound, "/configz": http.StatusNotFound,
		} {
			Expect(ask(ctx, "http", pod, runnerPort, "", http.MethodGet, path).code).To(Equal(code), path)
		}
		Expect(ask(ctx, "http", pod, runnerPort, "", http.MethodPost, "/metrics").code).To(Equal(http.StatusMethodNotAllowed))

		By("the network policies choosing these very pods, and a port that they have")
		for file, pod := range map[string]*corev1.Pod{"runner.yaml": pod, "manager.yaml": managerPod(ctx)} {
			policy := networkPolicy(file)
			selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
			Expect(err).NotTo(HaveOccurred())
			Expect(selector.Matches(labels.Set(pod.Labels))).To(BeTrue(), file)
			Expect(policy.Spec.Ingress).To(HaveLen(1), file)
			Expect(policy.Spec.Ingress[0].From).To(HaveLen(1), file)
			Expect(policy.Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels).To(Equal(map[string]string{"metrics": "enabled"}), file)
			for _, port := range policy.Spec.Ingress[0].Ports {
				Expect(pod.Spec.Containers[0].Ports).To(ContainElement(HaveField("Name", port.Port.StrVal)), file)
			}
		}
	}, SpecTimeout(time.Minute))
})

// networkPolicy reads one of config/network-policy.
func networkPolicy(file string) *networkingv1.NetworkPolicy {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(root, "config", "network-policy", file))
	Expect(err).NotTo(HaveOccurred())
	var policy networkingv1.NetworkPolicy
	Expect(yaml.UnmarshalStrict(data, &policy)).To(Succeed())
	return &policy
}
