package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tropocloud/tropo/doctor"
)

// newDoctor makes the engine that the parts bring their checks to. What spans
// services is asked of their APIs, with compute's user.
func (s *System) newDoctor() {
	s.doctor = doctor.New(doctor.Options{Log: s.log})
	if !s.agentOnly() {
		s.doctor.Add(doctor.Projects(s.session("nova")))
	}
}

// serveDoctor answers POST /doctor?heal=true with a report; GET only looks.
func (s *System) serveDoctor(w http.ResponseWriter, r *http.Request) {
	heal := r.URL.Query().Get("heal") == "true"
	switch {
	case s.agentOnly():
		http.Error(w, "this is no control node: ask one of those", http.StatusNotFound)
		return
	case r.Method != http.MethodPost && (heal || r.Method != http.MethodGet):
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "to heal takes a POST", http.StatusMethodNotAllowed)
		return
	}
	report, err := s.doctor.Run(r.Context(), heal)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(report) // the client has gone otherwise
}

// doctorTime bounds a run of the doctor.
const doctorTime = 15 * time.Minute

// Doctor asks the control node whose state folder is given to look for damage,
// and with heal to mend what is safe to mend.
func Doctor(ctx context.Context, dir string, heal bool) (*doctor.Report, error) {
	socket, err := AdminSocket(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	method, q := http.MethodGet, url.Values{}
	if heal {
		method = http.MethodPost
		q.Set("heal", "true")
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://tropo/doctor?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, fmt.Errorf("the control node of %s does not run: %w", dir, op)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body := io.LimitReader(res.Body, 256<<20)
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(body, 4<<10))
		return nil, fmt.Errorf("the control node answers %s: %s", res.Status, b)
	}
	report := &doctor.Report{}
	if err := json.NewDecoder(body).Decode(report); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	return report, nil
}
