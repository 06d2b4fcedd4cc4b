#!/bin/sh
# Says in one go what this machine lacks for `make demo` and `make test`.
missing=0
need() { # need COMMAND WHY HOW
	command -v "$1" >/dev/null 2>&1 && return
	echo "missing: $1, $2 ($3)" >&2
	missing=1
}
need go "which builds everything" "version 1.26 or later, from https://go.dev/dl"
need git "which names the version that is built" "Debian: apt-get install git"
if command -v go >/dev/null 2>&1; then
	need "$(go env CC)" "the C compiler that the runner's binding to ONNX Runtime needs" "Debian: apt-get install gcc libc6-dev"
	go version | awk '{split($3, v, "[.]"); sub("go", "", v[1]); if (v[1] < 1 || v[1] == 1 && v[2] + 0 < 26) exit 1}' || {
		echo "missing: Go 1.26 or later; this is $(go version)" >&2
		missing=1
	}
fi
case "$(uname -s)/$(uname -m)" in
Linux/x86_64 | Linux/aarch64) ;;
*) echo "missing: Linux on amd64 or arm64; the local cluster runs pods as Linux processes, and this is $(uname -s)/$(uname -m)" >&2
	missing=1 ;;
esac
exit $missing
