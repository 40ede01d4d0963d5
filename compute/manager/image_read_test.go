package manager_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
)

// TestImageIsReadOn lets the service that gives an image die in the middle: the
// host goes on where it was, from one that gives parts or from one that gives
// all, and takes no data that is not what was uploaded.
func TestImageIsReadOn(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sum := sha512.Sum512(data)
	for name, give := range map[string]func(w http.ResponseWriter, from int, answer int32){
		"parts": func(w http.ResponseWriter, from int, _ int32) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[from:])
		},
		"all": func(w http.ResponseWriter, _ int, _ int32) { _, _ = w.Write(data) },
		"others": func(w http.ResponseWriter, _ int, answer int32) {
			if answer == 2 {
				_, _ = w.Write(make([]byte, len(data)))
				return
			}
			_, _ = w.Write(data)
		},
	} {
		t.Run(name, func(t *testing.T) {
			peers := computetest.NewPeers()
			img := peers.Images[computetest.ImageID]
			img["os_hash_algo"], img["os_hash_value"], img["size"] = "sha512", hex.EncodeToString(sum[:]), len(data)
			var answers atomic.Int32
			peers.Other = func(r *http.Request) http.Handler {
				if !strings.HasSuffix(r.URL.Path, "/file") || r.Method != http.MethodGet {
					return nil
				}
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n := answers.Add(1)
					if n == 1 {
						w.Header().Set("Content-Length", strconv.Itoa(len(data)))
						_, _ = w.Write(data[:len(data)/3])
						panic(http.ErrAbortHandler)
					}
					from, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
					give(w, from, n)
				})
			}
			c := cloud(t, computetest.Options{Peers: peers, Images: true})
			c.Flavor()
			id := c.Boot("one", nil)
			c.Status(id, "ACTIVE")
			want := int32(2)
			if name == "others" {
				want = 3
			}
			if got := answers.Load(); got != want {
				t.Errorf("the image was asked for %d times, want %d", got, want)
			}
		})
	}
}
