// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes a models directory with a model, files and links in and out of it.
func tree(t testing.TB) (models, outside string) {
	t.Helper()
	base := t.TempDir()
	models, outside = filepath.Join(base, "models"), filepath.Join(base, "outside")
	for _, folder := range []string{filepath.Join(models, "family", "tiny"), outside} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{filepath.Join(models, "file"), filepath.Join(outside, "secret")} {
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"alias": "family/tiny", "away": outside, "up": "..", "family/away": "../../outside", "family/back": "../family/tiny", "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(models, link)); err != nil {
			t.Fatal(err)
		}
	}
	return models, outside
}

func TestResolve(t *testing.T) {
	models, _ := tree(t)
	real, err := filepath.EvalSymlinks(models)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"family/tiny", "alias", "family/back", "family/../family/tiny"} {
		got, err := Resolve(models, path)
		if want := filepath.Join(real, "family", "tiny"); err != nil || got != want {
			t.Errorf("%s gives %s (%v), want %s", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"../outside": "relative", "/etc": "relative", "": "relative", "family/../../outside": "relative",
		"away": "leads out", "up": "leads out", "family/away": "leads out", "up/outside": "leads out",
		"missing": "no such directory", "family/missing/deeper": "no such directory", "file": "is a file",
	} {
		got, err := Resolve(models, path)
		var defect *ModelError
		if !errors.As(err, &defect) || defect.File != path || !strings.Contains(defect.Message, want) {
			t.Errorf("%q gives %s and %v, want an error with %q", path, got, err, want)
		}
	}
	if got, err := Resolve(models, "loop"); err == nil {
		t.Errorf("a loop gives %s", got)
	}
	var defect *ModelError
	if _, err := Resolve(filepath.Join(models, "nothing"), "tiny"); err == nil || errors.As(err, &defect) {
		t.Errorf("a missing models directory gives %v, which must not blame the model", err)
	}
}

func TestDirectoryKeepsInside(t *testing.T) {
	models, outside := tree(t)
	if err := os.Symlink(filepath.Join(outside, "secret"), filepath.Join(models, "family", "tiny", "model_index.json")); err != nil {
		t.Fatal(err)
	}
	d, err := Open(filepath.Join(models, "family", "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for _, name := range []string{"model_index.json", "../../file", "/etc/passwd"} {
		if data, err := d.Read(name); err == nil {
			t.Errorf("%s gives %q", name, data)
		}
		if path, err := d.File(name); err == nil {
			t.Errorf("%s is at %s", name, path)
		}
		if data, err := d.ReadOptional(name); err == nil {
			t.Errorf("optional %s gives %q", name, data)
		}
	}
	if data, err := d.ReadOptional("tokenizer/special_tokens_map.json"); err != nil || data != nil {
		t.Errorf("an optional file that is missing gives %q (%v)", data, err)
	}
}

// TestHuggingFaceCacheKeepsInside wants of links only those to be followed that stay in
// the cache folder of the model itself.
func TestHuggingFaceCacheKeepsInside(t *testing.T) {
	for _, c := range []struct {
		cache, snapshot, link, to string
		followed                  bool
	}{
		{"models--org--name", "snapshots/rev", "unet/model.onnx", "../../../blobs/1", true},
		{"models--org--name", "snapshots/rev", "model_index.json", "../../blobs/1", true},
		{"models--org--name", "snapshots/rev", "model_index.json", "../../blobs/../blobs/1", true},
		{"models--org--name", "snapshots/rev", "model_index.json", "../../../models--org--other/blobs/1", false},
		{"models--org--name", "snapshots/rev", "model_index.json", "../../../../../../../../etc/passwd", false},
		{"models--org--name", "snapshots/rev", "model_index.json", "/etc/passwd", false},
		{"models--org--name", "revisions/rev", "model_index.json", "../../blobs/1", false},
		{"models--org--name", "snapshots/rev/deeper", "model_index.json", "../../../blobs/1", false},
		{"shared", "snapshots/rev", "model_index.json", "../../blobs/1", false},
	} {
		base := t.TempDir()
		model := filepath.Join(base, c.cache, filepath.FromSlash(c.snapshot))
		for _, file := range []string{filepath.Join(base, c.cache, "blobs/1"), filepath.Join(base, "models--org--other/blobs/1"), filepath.Join(model, "own")} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("{}"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(model, c.link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o700), os.Symlink(c.to, link)); err != nil {
			t.Fatal(err)
		}
		d, err := Open(model)
		if err != nil {
			t.Fatal(err)
		}
		data, err := d.Read(c.link)
		if c.followed != (err == nil) || c.followed && string(data) != "{}" {
			t.Errorf("%s/%s: %s -> %s gives %q (%v)", c.cache, c.snapshot, c.link, c.to, data, err)
		}
		path, err := d.File(c.link)
		if c.followed != (err == nil) || c.followed && path != link {
			t.Errorf("%s/%s: %s -> %s is at %q (%v)", c.cache, c.snapshot, c.link, c.to, path, err)
		}
		// Names are of files of the model, whatever else its links may lead to.
		var defect *ModelError
		if _, err := d.File("../../blobs/1"); !errors.As(err, &defect) || !strings.Contains(defect.Message, "leads out") {
			t.Errorf("%s/%s: a blob by name gives %v", c.cache, c.snapshot, err)
		}
		if _, err := d.Read("own"); err != nil {
			t.Error(err)
		}
		_ = d.Close()
	}
}

func TestModelErrorNamesFileAndField(t *testing.T) {
	cause := errors.New("cause")
	err := &ModelError{File: "unet/config.json", Field: "in_channels", Message: "is 9; must be 4", Err: cause}
	if got, want := err.Error(), "model file unet/config.json: in_channels: is 9; must be 4"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
}

// FuzzReadConfig reads a model whose five configurations are the fuzzer's. What is
// accepted must be within bounds.
func FuzzReadConfig(f *testing.F) {
	one := `{"_class_name":"StableDiffusionPipeline","text_encoder":["a","b"],"tokenizer":["a","b"],"unet":["a","b"],"scheduler":["a","b"]}`
	two := strings.TrimSuffix(one, "}") + `,"text_encoder_2":["a","b"],"tokenizer_2":["a","b"],"force_zeros_for_empty_prompt":false}`
	text := `{"hidden_size":16,"vocab_size":544,"max_position_embeddings":77,"layer_norm_eps":1e-05,"num_hidden_layers":2,"projection_dim":16}`
	unet := `{"sample_size":8,"in_channels":4,"cross_attention_dim":16,"time_cond_proj_dim":null,"addition_time_embed_dim":8,"projection_class_embeddings_input_dim":64}`
	vae := `{"latent_channels":4,"block_out_channels":[8,16],"scaling_factor":0.18215,"shift_factor":null}`
	f.Add(one, text, "", unet, vae)
	f.Add(two, text, text, unet, vae)
	f.Add(two, text, `{}`, unet, vae)
	f.Add(`{"_class_name":1}`, `[]`, "", `{"sample_size":1e99}`, `{"block_out_channels":[1,2,3,4,5,6,7,8,9,10]}`)
	f.Add(``, `null`, "null", `{"in_channels":-1}`, `{"scaling_factor":1e-300}`)
	dir := f.TempDir()
	for _, part := range []string{TextEncoder, TextEncoder2, UNet, VAEDecoder} {
		if err := os.Mkdir(filepath.Join(dir, part), 0o700); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, index, text, text2, unet, vae string) {
		for name, data := range map[string]string{
			IndexFile: index, ConfigFile(TextEncoder): text, ConfigFile(TextEncoder2): text2, ConfigFile(UNet): unet, ConfigFile(VAEDecoder): vae,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = d.Close() }()
		config, err := d.ReadConfig()
		var defect *ModelError
		switch {
		case err != nil && !errors.As(err, &defect):
			t.Errorf("got %v, want a ModelError", err)
		case err == nil && (config.VAE.Scale() > 128 || config.UNet.SampleSize*config.VAE.Scale() > 1<<17):
			t.Errorf("accepted %+v", config)
		case err == nil && config.TextEncoder2 != nil && config.TextEncoder2.HiddenSize > 1<<14:
			t.Errorf("accepted %+v", *config.TextEncoder2)
		}
	})
}
