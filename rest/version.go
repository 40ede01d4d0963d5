package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// Version is a microversion; the zero value stands for "none".
type Version struct{ Major, Minor int }

// ParseVersion reads "2.53".
func ParseVersion(s string) (Version, error) {
	a, b, ok := strings.Cut(s, ".")
	major, err1 := strconv.Atoi(a)
	minor, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || major < 1 || minor < 0 || strings.HasPrefix(b, "0") && b != "0" || strings.ContainsAny(s, "+- ") {
		return Version{}, fmt.Errorf("version %q is not of the form 2.1", s)
	}
	return Version{major, minor}, nil
}

// mustVersion is for versions in code; "" is the zero version.
func mustVersion(s string) Version {
	if s == "" {
		return Version{}
	}
	v, err := ParseVersion(s)
	if err != nil {
		panic(err)
	}
	return v
}

// V is ParseVersion for versions written in code: V("2.53").
func V(s string) Version { return mustVersion(s) }

// String returns "2.53".
func (v Version) String() string { return strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor) }

// Less orders versions.
func (v Version) Less(w Version) bool {
	return v.Major < w.Major || v.Major == w.Major && v.Minor < w.Minor
}

// AtLeast reports v ≥ w.
func (v Version) AtLeast(w Version) bool { return !v.Less(w) }

// Microversions tells how a service negotiates its version.
type Microversions struct {
	Service  string // the service type in "OpenStack-API-Version: compute 2.1"
	Legacy   string // an older header with the bare version, "X-OpenStack-Nova-API-Version"
	Min, Max Version

	legacyKey string // Legacy as header maps spell it
}

// versionKey is OpenStack-API-Version as header maps spell it.
const versionKey = "Openstack-Api-Version"

// choose reads the version that the request asks for; without a header it is
// Min.
func (m *Microversions) choose(h http.Header) (Version, error) {
	want := ""
	for _, line := range h[versionKey] {
		for part := range strings.SplitSeq(line, ",") {
			f := strings.Fields(part)
			if len(f) == 2 && strings.EqualFold(f[0], m.Service) {
				want = f[1]
			}
		}
	}
	if old := h[m.legacyKey]; want == "" && m.Legacy != "" && len(old) > 0 {
		want = strings.TrimSpace(old[0])
	}
	switch strings.ToLower(want) {
	case "":
		return m.Min, nil
	case "latest":
		return m.Max, nil
	}
	v, err := ParseVersion(want)
	if err != nil {
		return m.Min, fault.Invalidf("API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", want)
	}
	if v.Less(m.Min) || m.Max.Less(v) {
		return m.Min, fault.New(fault.NotAcceptable, "Version %s is not supported by the API. Minimum is %s and maximum is %s.", v, m.Min, m.Max)
	}
	return v, nil
}

// announce sets the answer's version headers.
func (m *Microversions) announce(h http.Header, v Version) {
	text := v.String()
	h[versionKey] = []string{m.Service + " " + text}
	if m.Legacy == "" {
		h["Vary"] = []string{"OpenStack-API-Version"}
		return
	}
	h[m.legacyKey] = []string{text}
	h["Vary"] = []string{"OpenStack-API-Version", m.Legacy}
}
