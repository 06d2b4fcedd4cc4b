# Two images: the manager (static, for every platform) and the runner (CUDA and ONNX Runtime).
#
#   docker build --target manager -t atelier-manager .
#   docker build --target runner  -t atelier-runner .
ARG GO_VERSION=1.26
ARG CUDA_VERSION=13.0.2

# The manager is pure Go: it is cross-compiled on the building platform.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS manager-build
ARG TARGETOS TARGETARCH VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X github.com/atelier-dev/atelier/internal/version.Version=$VERSION" \
    -o /manager ./cmd/manager

FROM gcr.io/distroless/static-debian12:nonroot AS manager
COPY --from=manager-build /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]

# The runner calls ONNX Runtime's C API through cgo and opens the library when the first
# model is loaded, so that it builds without it. The Makefile says what the tag is for.
FROM golang:${GO_VERSION}-bookworm AS runner-build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -tags disable_grpc_modules -trimpath \
    -ldflags "-s -w -X github.com/atelier-dev/atelier/internal/version.Version=$VERSION" \
    -o /runner ./cmd/runner

# ONNX Runtime with its CUDA provider, as its project publishes it.
FROM debian:bookworm-slim AS onnxruntime
ARG ONNXRUNTIME_VERSION=1.30.0
ARG ONNXRUNTIME_SHA256=382d79133112388cf94ce5855789b7c9bef12bef76a08b6b277e5a317213adcd
ADD --checksum=sha256:${ONNXRUNTIME_SHA256} \
    https://github.com/microsoft/onnxruntime/releases/download/v${ONNXRUNTIME_VERSION}/onnxruntime-linux-x64-gpu_cuda13-${ONNXRUNTIME_VERSION}.tgz \
    /onnxruntime.tgz
RUN mkdir /onnxruntime && tar -xzf /onnxruntime.tgz -C /onnxruntime --strip-components=1

FROM nvidia/cuda:${CUDA_VERSION}-cudnn-runtime-ubuntu24.04 AS runner
COPY --from=onnxruntime /onnxruntime/lib/ /usr/local/lib/onnxruntime/
COPY --from=onnxruntime /onnxruntime/LICENSE /onnxruntime/ThirdPartyNotices.txt /usr/local/share/doc/onnxruntime/
COPY --from=runner-build /runner /usr/local/bin/runner
ENV ONNXRUNTIME_LIB=/usr/local/lib/onnxruntime/libonnxruntime.so
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/runner"]
CMD ["serve"]
