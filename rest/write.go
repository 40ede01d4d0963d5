package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// write renders the answer or the fault and returns the status.
func (a *API) write(w http.ResponseWriter, r *Request, res any, err error) int {
	h := w.Header()
	for k, v := range r.header {
		h[k] = v
	}
	if err != nil {
		return a.writeError(w, r, err)
	}
	out, ok := res.(*Response)
	if !ok {
		out = &Response{Body: res}
	}
	for k, v := range out.Header {
		h[k] = v
	}
	code := out.Status
	if code == 0 {
		code = r.route.Status
	}
	head := r.HTTP.Method == http.MethodHead
	if out.Stream != nil {
		defer func() { _ = out.Stream.Close() }()
		w.WriteHeader(max(code, http.StatusOK))
		if !head {
			if _, err := io.Copy(w, out.Stream); err != nil {
				a.opts.Log.LogAttrs(r.Context(), slog.LevelInfo, "answer was cut", slog.String("error", err.Error()))
				panic(http.ErrAbortHandler) // the client must see that it is incomplete
			}
		}
		return max(code, http.StatusOK)
	}
	var body []byte
	switch b := out.Body.(type) {
	case nil:
	case []byte:
		body = b
	default:
		if body, err = encode(b); err != nil {
			return a.writeError(w, r, err)
		}
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/json")
		}
	}
	if code == 0 {
		code = http.StatusOK
		if body == nil {
			code = http.StatusNoContent
		}
	}
	if code != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(code)
	if !head && code != http.StatusNoContent {
		_, _ = w.Write(body)
	}
	return code
}

// encode renders a view. A view whose own MarshalJSON panics is an error.
func encode(v any) (_ []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("render answer: panic: %v\n%s", p, debug.Stack())
		}
	}()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("render answer: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func (a *API) writeError(w http.ResponseWriter, r *Request, err error) int {
	f, ok := fault.As(err)
	if !ok || f.Kind == "" || f.Kind == fault.Internal {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			f = fault.Unavailablef("The client went away.")
		} else {
			a.opts.Log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("service", a.opts.Service),
				slog.String("method", r.HTTP.Method), slog.String("path", r.HTTP.URL.Path), slog.String("error", err.Error()))
			f = fault.New(fault.Internal, "An unexpected error prevented the server from fulfilling your request. Tell the operator this id: %s", obs.RequestID(r.Context()))
		}
	}
	h := w.Header()
	code := a.opts.Errors.Status(f.Kind)
	ct, body := a.opts.Errors.Document(f, code, obs.RequestID(r.Context()))
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Keystone uri=\""+a.opts.AuthURL+"\"")
	}
	if code == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	h.Set("Content-Type", ct)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.HTTP.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
	return code
}
