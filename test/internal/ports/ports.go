// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ports finds free ports on the loopback address.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports to choose from. Below the range from which systems take the ports of
// outgoing connections, so that none of those is in the way when the server that a port
// is meant for comes to listen.
const (
	first = 20000
	last  = 32000
)

// attempts bounds the search.
const attempts = 1000

// Pool hands out ports, each to one holder at a time.
type Pool struct {
	mu   sync.Mutex
	held map[int]bool
}

// Take returns a port on which nothing listens.
func (p *Pool) Take() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range attempts {
		port := first + rand.IntN(last-first)
		if !p.held[port] && free(port) {
			if p.held == nil {
				p.held = map[int]bool{}
			}
			p.held[port] = true
			return port, nil
		}
	}
	return 0, errors.New("found no free port between " + strconv.Itoa(first) + " and " + strconv.Itoa(last) + " on 127.0.0.1")
}

// Give returns ports for others to take.
func (p *Pool) Give(ports ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range ports {
		delete(p.held, port)
	}
}

func free(port int) bool {
	listener, err := net.Listen("tcp", Address(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// Address of a port on the loopback address.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
