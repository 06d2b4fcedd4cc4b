# Atelier: pictures from GenerationJobs. `make help` lists the targets.

SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

K8S_VERSION := 1.37.2
ONNXRUNTIME_VERSION := 1.30.0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Images, for docker-build, deploy and the runner pods that the manager starts.
IMG ?= atelier-manager:$(VERSION)
RUNNER_IMG ?= atelier-runner:$(VERSION)
PLATFORMS ?= linux/amd64,linux/arm64
# What deploy installs: config/default, or config/ha with a standby.
CONFIG ?= config/default

# Everything that is built or fetched lies under bin/, which git ignores.
K8S_DIR := bin/k8s/v$(K8S_VERSION)
ONNXRUNTIME_DIR := bin/onnxruntime/$(ONNXRUNTIME_VERSION)
TOOLS_DIR := bin/tools
CONTROLLER_GEN := $(TOOLS_DIR)/controller-gen
GOLANGCI_LINT := $(TOOLS_DIR)/golangci-lint

# A binary of the control plane is built unless KUBEBUILDER_ASSETS holds it.
controlplane = $(foreach b,$(1),$(if $(and $(KUBEBUILDER_ASSETS),$(wildcard $(KUBEBUILDER_ASSETS)/$(b))),,$(K8S_DIR)/$(b)))
CONTROL_PLANE := $(call controlplane,etcd kube-apiserver kube-controller-manager kube-scheduler kubectl)
KUBECTL ?= $(if $(call controlplane,kubectl),$(K8S_DIR)/kubectl,$(KUBEBUILDER_ASSETS)/kubectl)

##@ Start here

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: cluster-binaries bin/atelier-local ## Start a local cluster, apply a GenerationJob, show it until its picture is there. PROMPT="a red apple"
	@bin/atelier-local demo

.PHONY: up
up: cluster-binaries bin/atelier-local ## Start a local cluster and keep it open, with a KUBECONFIG to play with.
	@bin/atelier-local up

.PHONY: test
test: cluster-binaries s3server gcsserver ## Run every test, against a real control plane and a real ONNX Runtime.
	go vet ./...
	go test -race -timeout 20m $$(go list ./... | grep -v /test/)
	go test -timeout 30m -v ./test/... | grep -v '^=== '

.PHONY: test-chaos
test-chaos: cluster-binaries ## Run the long tests and print their figures. SEED= repeats a run.
	ATELIER_MUTATIONS=10000 go test -count=1 -timeout 60m -v -run TestMutatedModels ./internal/pipeline | grep -v '^=== '
	ATELIER_OBJECTS=10000 ATELIER_SEED=$(SEED) go test -count=1 -timeout 60m -v ./test/e2e -ginkgo.label-filter=chaos -ginkgo.v -ginkgo.no-color
	ATELIER_JOBS=$(CHAOS_JOBS) ATELIER_SEED=$(SEED) go test -count=1 -timeout 60m -v ./test/chaos | grep -v '^=== '

# The programs of a real node, for test-e2e.
KUBELET_DIR := bin/kubelet
KUBELET_NODE := $(addprefix $(KUBELET_DIR)/,kubelet containerd containerd-shim-runc-v2 ctr runc cni/ptp cni/host-local cni/loopback pause)

.PHONY: test-e2e
test-e2e: cluster-binaries $(KUBELET_NODE) ## Run manager and runners under a real kubelet and containerd. Needs root, Linux, cgroup v1 and libseccomp-dev. RUN=^TestPodEvicted
	@$(MAKE) dist/install.yaml CONFIG=config/default IMG=localhost/atelier-manager:e2e RUNNER_IMG=localhost/atelier-runner:e2e
	ATELIER_POD_TESTS='$(RUN)' ATELIER_KUBELET=$(abspath $(KUBELET_DIR)) ONNXRUNTIME_LIB=$${ONNXRUNTIME_LIB:-$(abspath $(ONNXRUNTIME_DIR))/libonnxruntime.so} \
		go test -count=1 -timeout 30m -v ./test/kubelet | grep -v '^=== '

# Of what the long tests draw; they print it.
SEED ?= $(shell date +%s)
# How many jobs run while processes are killed.
CHAOS_JOBS ?= 1000

##@ Build

GO_LDFLAGS := -trimpath -ldflags '-s -w -X github.com/atelier-dev/atelier/internal/version.Version=$(VERSION)'

.PHONY: build
build: bin/manager bin/runner ## Build the manager and the runner.

.PHONY: bin/manager
bin/manager:
	@$(call timed,the manager,CGO_ENABLED=0 go build $(GO_LDFLAGS) -o $@ ./cmd/manager)

# Google's library then leaves out parts of gRPC that nobody uses here: they are a quarter of
# the program's size and make its start longer (docs/performance.md).
RUNNER_TAGS := disable_grpc_modules

.PHONY: bin/runner
bin/runner:
	@$(call timed,the runner,CGO_ENABLED=1 go build -tags $(RUNNER_TAGS) $(GO_LDFLAGS) -o $@ ./cmd/runner)

.PHONY: bin/atelier-local
bin/atelier-local:
	@$(call timed,the local cluster,CGO_ENABLED=0 go build $(GO_LDFLAGS) -o $@ ./test/localcluster/cmd/atelier-local)

.PHONY: cluster-binaries
cluster-binaries: ## Build and fetch all that demo, up and test run.
	@hack/preflight.sh
	@$(MAKE) controlplane onnxruntime build

.PHONY: controlplane
controlplane: $(CONTROL_PLANE) ## Build etcd and the Kubernetes control plane from their Go modules.
	@:

$(K8S_DIR)/etcd: hack/controlplane/etcd/go.mod
	@$(call timed,etcd (20 seconds on 2 cores),CGO_ENABLED=0 go -C hack/controlplane/etcd build -trimpath -ldflags '-s -w' -o $(abspath $@) go.etcd.io/etcd/server/v3)

K8S_LDFLAGS := -s -w \
	-X k8s.io/component-base/version.gitVersion=v$(K8S_VERSION) \
	-X k8s.io/component-base/version.gitMajor=$(word 1,$(subst ., ,$(K8S_VERSION))) \
	-X k8s.io/component-base/version.gitMinor=$(word 2,$(subst ., ,$(K8S_VERSION)))

$(K8S_DIR)/%: hack/controlplane/kubernetes/go.mod
	@$(call timed,$* $(K8S_VERSION) (once; all of Kubernetes takes about 6 minutes on 2 cores),CGO_ENABLED=0 go -C hack/controlplane/kubernetes build -trimpath -ldflags '$(K8S_LDFLAGS)' -o $(abspath $@) k8s.io/kubernetes/cmd/$*)

.PHONY: s3server
s3server: bin/versitygw ## Build the S3 server that tests write to, from its Go module.

bin/versitygw: hack/s3server/go.mod
	@$(call timed,the S3 server of the tests (once; about a minute on 2 cores),CGO_ENABLED=0 go -C hack/s3server build -trimpath -ldflags '-s -w' -o $(abspath $@) github.com/versity/versitygw/cmd/versitygw)

.PHONY: gcsserver
gcsserver: bin/fake-gcs-server ## Build the server of Google Cloud Storage that tests write to, from its Go module.

bin/fake-gcs-server: hack/gcsserver/go.mod
	@$(call timed,the server of Google Cloud Storage of the tests (once; about a minute on 2 cores),CGO_ENABLED=0 go -C hack/gcsserver build -trimpath -ldflags '-s -w' -o $(abspath $@) github.com/fsouza/fake-gcs-server)

# There is none in Go. It is no part of `make test`, whose tests leave out what is not there.
AZURITE_VERSION := 3.35.0

.PHONY: azureserver
azureserver: ## Fetch Azurite, the server of Azure Blob Storage that tests write to where it is there. Needs npm.
	npm install --no-save --prefix bin/azurite azurite@$(AZURITE_VERSION)

$(KUBELET_DIR)/kubelet: hack/controlplane/kubernetes/go.mod
	@$(call timed,kubelet $(K8S_VERSION),CGO_ENABLED=0 go -C hack/controlplane/kubernetes build -trimpath -ldflags '$(K8S_LDFLAGS)' -o $(abspath $@) k8s.io/kubernetes/cmd/kubelet)

$(KUBELET_DIR)/containerd $(KUBELET_DIR)/containerd-shim-runc-v2 $(KUBELET_DIR)/ctr: hack/kubelet/containerd/go.mod
	@$(call timed,$(@F),CGO_ENABLED=0 go -C hack/kubelet/containerd build -trimpath -tags "no_btrfs no_devmapper no_zfs" -ldflags '-s -w' -o $(abspath $@) github.com/containerd/containerd/v2/cmd/$(@F))

# Filtering system calls needs the C library.
$(KUBELET_DIR)/runc: hack/kubelet/runc/go.mod
	@pkg-config --exists libseccomp || { echo "runc needs libseccomp: install libseccomp-dev and pkg-config" >&2; exit 1; }
	@$(call timed,runc,CGO_ENABLED=1 go -C hack/kubelet/runc build -trimpath -tags seccomp -ldflags '-s -w' -o $(abspath $@) github.com/opencontainers/runc)

cni = CGO_ENABLED=0 go -C hack/kubelet/cni build -trimpath -ldflags '-s -w' -o $(abspath $@) github.com/containernetworking/plugins/plugins/$(1)/$(@F)

$(KUBELET_DIR)/cni/ptp $(KUBELET_DIR)/cni/loopback: hack/kubelet/cni/go.mod
	@$(call timed,the network plugin $(@F),$(call cni,main))

$(KUBELET_DIR)/cni/host-local: hack/kubelet/cni/go.mod
	@$(call timed,the network plugin $(@F),$(call cni,ipam))

$(KUBELET_DIR)/pause: test/kubelet/pause/main.go
	@$(call timed,the pause program,CGO_ENABLED=0 go build $(GO_LDFLAGS) -o $@ ./test/kubelet/pause)

# timed says what is built, builds it and says how long that took.
timed = echo "building $(1)"; start=$$(date +%s); mkdir -p $(@D) && $(2) && echo "built $@ in $$(( $$(date +%s) - start )) s"

.PHONY: onnxruntime
onnxruntime: ## Fetch the pinned ONNX Runtime library, unless ONNXRUNTIME_LIB names one.
	@if [ -z "$$ONNXRUNTIME_LIB" ]; then go run ./hack/fetch-onnxruntime -o $(ONNXRUNTIME_DIR); \
	elif [ ! -f "$$ONNXRUNTIME_LIB" ]; then echo "ONNXRUNTIME_LIB=$$ONNXRUNTIME_LIB: no such file" >&2; exit 1; fi

##@ Development

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Regenerate deep copies.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: $(CONTROLLER_GEN) ## Regenerate CRDs and the manager's role.
	$(CONTROLLER_GEN) crd:allowDangerousTypes=true rbac:roleName=atelier-manager paths=./api/... paths=./internal/controller/... paths=./cmd/manager/... output:crd:artifacts:config=config/crd/bases

.PHONY: verify
verify: generate manifests ## Fail when generated files differ from what is committed, or go.mod is not tidy.
	go mod tidy -diff
	@git diff --exit-code -- api config || { echo "generated files differ: run make generate manifests and commit the result" >&2; exit 1; }

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters.
	$(GOLANGCI_LINT) run

.PHONY: bench
bench: onnxruntime bin/runner ## Measure the runner, beside Python where `make bench-peers` was run. BENCH="-rounds 5"
	@go run ./hack/bench $(BENCH)

.PHONY: bench-load
bench-load: onnxruntime ## Measure how models load, cold and warm, beside plain ONNX Runtime and reading the files. BENCH="-rounds 5"
	@go run ./hack/bench -load $(BENCH)

.PHONY: bench-peers
bench-peers: ## Make what bench compares with: optimum, and a model of SD 1.5's size (10 GB of disk, 9 GB of memory).
	"$$(hack/environment.sh hack/peer)" -W ignore hack/peer/sd15.py bin/bench/sd15

.PHONY: bench-scale
bench-scale: cluster-binaries ## Measure how many jobs the manager handles, beside Kubernetes Jobs. BENCH="-runners 1000"
	@go run ./test/scale $(BENCH)

FUZZTIME ?= 10m

.PHONY: fuzz
fuzz: ## Run every fuzzer, one after another, for FUZZTIME each.
	@for package in $$(go list ./internal/...); do \
		for fuzzer in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$fuzzer"; \
			go test -run '^$$' -fuzz "^$$fuzzer\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$package || exit 1; \
		done; \
	done

.PHONY: parity
parity: onnxruntime ## Print how far the runtime is from Python, and fail past a bound.
	@go test -count=1 -json -run Equal ./internal/... | go run ./hack/parity

.PHONY: goldens
goldens: ## Recompute the goldens with Python's diffusers (needs Python 3.11 and gigabytes of wheels).
	hack/goldens/run.sh

.PHONY: demo-model
demo-model: ## Train the demo model from the emoji pictures (hours on CPU; resumes).
	hack/demo-model/train.sh

$(CONTROLLER_GEN): hack/tools/controller-gen/go.mod
	@$(call timed,controller-gen,CGO_ENABLED=0 go -C hack/tools/controller-gen build -o $(abspath $@) sigs.k8s.io/controller-tools/cmd/controller-gen)

$(GOLANGCI_LINT): hack/tools/golangci-lint/go.mod
	@$(call timed,golangci-lint (2 minutes on 2 cores),CGO_ENABLED=0 go -C hack/tools/golangci-lint build -o $(abspath $@) github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

.PHONY: clean
clean: ## Remove everything that was built or fetched.
	rm -rf bin out dist

##@ Deployment, to the cluster of the current kubectl context

.PHONY: install
install: $(call controlplane,kubectl) ## Install the CRDs.
	$(KUBECTL) apply --server-side -k config/crd

.PHONY: deploy
deploy: dist/install.yaml $(call controlplane,kubectl) ## Install CRDs, policies and the manager. IMG= and RUNNER_IMG= name the images, CONFIG=config/ha adds a standby.
	$(KUBECTL) apply --server-side -f dist/install.yaml

.PHONY: undeploy
undeploy: dist/install.yaml $(call controlplane,kubectl) ## Remove all that deploy installed, with every job, model and pool.
	$(KUBECTL) delete --ignore-not-found -f dist/install.yaml

.PHONY: dist/install.yaml
dist/install.yaml: $(call controlplane,kubectl)
	@mkdir -p dist
	@$(KUBECTL) kustomize $(CONFIG) | sed -e 's#image: atelier-manager$$#image: $(IMG)#' -e 's#--runner-image=atelier-runner$$#--runner-image=$(RUNNER_IMG)#' > $@

.PHONY: docker-build
docker-build: ## Build the images (manager for PLATFORMS, runner for linux/amd64).
	docker buildx build --platform $(PLATFORMS) --target manager --build-arg VERSION=$(VERSION) -t $(IMG) .
	docker buildx build --platform linux/amd64 --target runner --build-arg VERSION=$(VERSION) -t $(RUNNER_IMG) .
