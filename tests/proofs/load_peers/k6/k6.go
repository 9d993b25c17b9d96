//go:build tools

// Package peers pins k6, a peer of `make prove-load`.
package peers

import _ "go.k6.io/k6"
