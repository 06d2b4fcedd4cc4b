// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/atelier-dev/atelier/internal/bucket"
	"github.com/atelier-dev/atelier/internal/modelstore/cache"
	"github.com/atelier-dev/atelier/internal/modelstore/fetch"
)

// The variables by which a pool's template sets the cache without repeating all arguments.
const (
	cacheDirEnv      = "CACHE_DIR"
	cacheCapacityEnv = "CACHE_CAPACITY"
)

// cacheOptions are what commands that use the cache are told.
type cacheOptions struct {
	dir      string
	capacity string
	registry string
}

// add adds the flags.
func (o *cacheOptions) add(flags *pflag.FlagSet, dir string) {
	if env := os.Getenv(cacheDirEnv); env != "" {
		dir = env
	}
	flags.StringVar(&o.dir, "cache-dir", dir, "directory of the model cache (default $"+cacheDirEnv+")")
	flags.StringVar(&o.capacity, "cache-capacity", os.Getenv(cacheCapacityEnv),
		"most that the cache may take, such as 40Gi; empty is what the file system has (default $"+cacheCapacityEnv+")")
	flags.StringVar(&o.registry, "registry-config", fetch.DockerConfig(),
		"Docker configuration with the credentials of servers (default config.json in $DOCKER_CONFIG)")
}

// userCache is the cache of someone at a terminal.
func userCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "atelier", "models")
}

// open opens the cache; nil where there is to be none.
func (o *cacheOptions) open() (*cache.Cache, error) {
	if o.dir == "" {
		return nil, nil
	}
	config := cache.Config{Dir: o.dir}
	if o.capacity != "" {
		capacity, err := resource.ParseQuantity(o.capacity)
		if err != nil || capacity.Value() <= 0 {
			return nil, fmt.Errorf("--cache-capacity %q: must be a number of bytes, such as 40Gi", o.capacity)
		}
		config.Capacity = capacity.Value()
	}
	return cache.Open(config)
}

// must opens the cache for a command that is nothing without one.
func (o *cacheOptions) must() (*cache.Cache, error) {
	c, err := o.open()
	if err == nil && c == nil {
		err = fmt.Errorf("--cache-dir or %s must name a directory", cacheDirEnv)
	}
	return c, err
}

func newCacheCommand() *cobra.Command {
	var o cacheOptions
	command := &cobra.Command{Use: "cache", Short: "Look at and tidy the model cache"}
	o.add(command.PersistentFlags(), userCache())
	command.AddCommand(newCacheListCommand(&o), newCachePruneCommand(&o))
	return command
}

func newCacheListCommand(o *cacheOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the models in the cache, the one used last first",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := o.must()
			if err != nil {
				return err
			}
			entries, err := c.List()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(command.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "DIGEST\tSIZE\tUSED\tIN USE\tSOURCE") // Flush gives the first error.
			for _, e := range entries {
				_, _ = fmt.Fprintf(w, "%s\t%.1f MB\t%s\t%t\t%s\n", e.Digest, float64(e.SizeBytes())/1e6, e.Used.UTC().Format(time.RFC3339), e.InUse, e.Source)
			}
			return w.Flush()
		},
	}
}

func newCachePruneCommand(o *cacheOptions) *cobra.Command {
	var keep string
	command := &cobra.Command{
		Use:   "prune",
		Short: "Throw away models that no process uses",
		Long: `Throw away what was left unfinished and the models that no process uses, the longest
unused first, until the cache takes no more than --keep.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := o.must()
			if err != nil {
				return err
			}
			most, err := resource.ParseQuantity(keep)
			if err != nil {
				return fmt.Errorf("--keep %q: must be a number of bytes, such as 20Gi", keep)
			}
			left, err := c.Prune(most.Value())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "the cache takes %.1f MB\n", float64(left)/1e6)
			return err
		},
	}
	command.Flags().StringVar(&keep, "keep", "0", "what the cache may still take, such as 20Gi")
	return command
}

// pullOptions say which model and how.
type pullOptions struct {
	cacheOptions
	sha256   string
	insecure bool
	// bucket says how a bucket is reached; its URL is the model's.
	bucket bucket.Config
}

func newPullCommand() *cobra.Command {
	var o pullOptions
	command := &cobra.Command{
		Use:   "pull MODEL",
		Short: "Fetch a model into the cache and print its directory",
		Long: `Fetch a model into the cache, verify each byte of it, and print the directory that it is
in. MODEL is an OCI artifact, such as oci://ghcr.io/organisation/model:v1, the address of
an archive (tar, tar.gz, tar.zst, zip), for which --sha256 must say what it is, or a folder
of a bucket (s3://, gs://, azblob://) with a file SHA256SUMS in it. Credentials for a bucket
are found as the cloud's own tools find them.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			c, err := o.must()
			if err != nil {
				return err
			}
			remote, err := o.remote(args[0])
			if err != nil {
				return err
			}
			progress := newBar(command.ErrOrStderr())
			m, err := c.Pull(command.Context(), remote, "", progress.bytes)
			progress.end()
			if err != nil {
				return err
			}
			defer m.Release()
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s\n%s\n", m.Record.Digest, m.Dir)
			return err
		},
	}
	o.add(command.Flags(), userCache())
	command.Flags().StringVar(&o.sha256, "sha256", "", "sha256 of an archive, or of a bucket's SHA256SUMS, in hexadecimal")
	command.Flags().BoolVar(&o.insecure, "insecure", false, "read from a registry without TLS, and without credentials")
	command.Flags().StringVar(&o.bucket.Endpoint, "endpoint", "", "endpoint of a bucket that is not at the cloud's own, such as https://minio.example:9000")
	command.Flags().StringVar(&o.bucket.Region, "region", "", "region of a bucket of s3://")
	command.Flags().BoolVar(&o.bucket.PathStyle, "path-style", false, "put the name of a bucket of s3:// into the path, as most stores that are not Amazon's want it")
	return command
}

// remote is where a model that is named at a terminal is published.
func (o *pullOptions) remote(name string) (fetch.Remote, error) {
	credentials := fetch.Credentials{File: o.registry}
	switch {
	case strings.HasPrefix(name, "oci://"):
		return fetch.NewOCI(name, o.insecure, credentials)
	case strings.HasPrefix(name, "https://"), strings.HasPrefix(name, "http://"):
		return fetch.NewHTTP(name, o.sha256, credentials)
	case bucket.HasScheme(name):
		config := o.bucket
		config.URL = name
		return fetch.NewBucket(config, o.sha256)
	}
	return nil, fmt.Errorf("model %s: must begin with oci://, https://, http://, s3://, gs:// or azblob://", strconv.Quote(name))
}

func newVerifyCommand() *cobra.Command {
	var o cacheOptions
	command := &cobra.Command{
		Use:   "verify MODEL",
		Short: "Read a model of the cache again and compare all digests",
		Long: `Read each file of a model of the cache and compare it with the digest that it had when
it was fetched. MODEL is the model's digest, sha256:…, or its source as "runner cache ls"
has it. A file that has changed is named, and the exit code is 1.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			c, err := o.must()
			if err != nil {
				return err
			}
			m, err := cached(command.Context(), c, args[0])
			if err != nil {
				return err
			}
			defer m.Release()
			if err := m.Verify(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s: %d files, %.1f MB, all as fetched\n", m.Record.Digest, len(m.Record.Files), float64(m.Record.SizeBytes())/1e6)
			return err
		},
	}
	o.add(command.Flags(), userCache())
	return command
}

// cached takes a model of the cache into use that someone names.
func cached(ctx context.Context, c *cache.Cache, name string) (*cache.Model, error) {
	digest, err := digestOf(c, name)
	if err != nil {
		return nil, err
	}
	m, err := c.Use(ctx, digest)
	if err == nil && m == nil {
		err = fmt.Errorf("%s: is not in the cache, or not whole any more; pull it again", name)
	}
	return m, err
}

// digestOf finds the model of the cache that someone names.
func digestOf(c *cache.Cache, name string) (string, error) {
	if strings.HasPrefix(name, "sha256:") {
		return name, nil
	}
	entries, err := c.List()
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.Source == name {
			return e.Digest, nil
		}
	}
	return "", fmt.Errorf("%s: no model in the cache came from there", name)
}
