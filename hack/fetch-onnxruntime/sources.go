// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

// version of ONNX Runtime that everything in this repository is built and tested with.
const version = "1.30.0"

// A source is one place that offers the library inside an archive.
type source struct {
	name string
	// fetch puts the archive into a folder and returns its path.
	fetch func(dir string, p platform) (string, error)
	// member returns the path of the library inside the archive.
	member func(p platform) string
	// sha256 returns the digest that the library from this source must have.
	sha256 func(p platform) string
}

// A platform is what differs between operating systems and processors. The wheel and the
// release hold the same file; npm's package holds a build of its own of the same version.
type platform struct {
	wheelTag    string
	wheelMember string
	npmMember   string
	release     string // name of the release archive, without .tgz
	releaseSHA  string // digest of that archive
	librarySHA  string // digest of the library in the wheel and in the release
	npmSHA      string // digest of the library in npm's package
	libraryName string // file name under which it is kept
}

// platforms by GOOS/GOARCH. The digests of wheels and npm packages were computed from
// downloads that the package clients had verified against their registries; those of the release
// archives are the ones published beside the release.
var platforms = map[string]platform{
	"linux/amd64": {
		wheelTag:    "manylinux_2_28_x86_64",
		wheelMember: "onnxruntime/capi/libonnxruntime.so." + version,
		npmMember:   "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
		release:     "onnxruntime-linux-x64-" + version,
		releaseSHA:  "a5ed5a3cac51fbb2e90da632ae43d19212faaa20e76484e62bcb7c23ddb3b3fd",
		librarySHA:  "c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed",
		npmSHA:      "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23",
		libraryName: "libonnxruntime.so",
	},
	"linux/arm64": {
		wheelTag:    "manylinux_2_28_aarch64",
		wheelMember: "onnxruntime/capi/libonnxruntime.so." + version,
		npmMember:   "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
		release:     "onnxruntime-linux-aarch64-" + version,
		releaseSHA:  "e16a27a8ed330bbc698df7330b0cf56e722f354e3bcc92118682c74ef3c3e3da",
		librarySHA:  "8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789",
		npmSHA:      "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76",
		libraryName: "libonnxruntime.so",
	},
	"darwin/arm64": {
		wheelTag:    "macosx_14_0_arm64",
		wheelMember: "onnxruntime/capi/libonnxruntime." + version + ".dylib",
		npmMember:   "package/bin/napi-v6/darwin/arm64/libonnxruntime." + version + ".dylib",
		release:     "onnxruntime-osx-arm64-" + version,
		releaseSHA:  "6ebb5062a934537c352937821f9fe9718e7de1a2db1122a93dd363ffd53a7012",
		librarySHA:  "b46713ea6a25a5227541c21001f6422c1ccdeaecc369aa026a61b752520325c3",
		npmSHA:      "685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d",
		libraryName: "libonnxruntime.dylib",
	},
}
