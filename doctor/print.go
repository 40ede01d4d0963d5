package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes the report as one document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes the report for a person.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Findings) > 0 {
		_, _ = fmt.Fprintln(t, "SEVERITY\tSERVICE\tCHECK\tKIND\tID\tPROBLEM")
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Severity, f.Service, f.Check, f.Kind, f.ID, f.Problem)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		switch {
		case f.Failure != "":
			_, _ = fmt.Fprintf(w, "not healed: %s %s: %s\n", f.Kind, f.ID, f.Failure)
		case f.Fix != "":
			_, _ = fmt.Fprintf(w, "--fix would heal %s %s: %s\n", f.Kind, f.ID, f.Fix)
		case f.Command != "":
			_, _ = fmt.Fprintf(w, "for a person, %s %s: %s\n", f.Kind, f.ID, f.Command)
		}
	}
	for i := range r.Healed {
		f := &r.Healed[i]
		_, _ = fmt.Fprintf(w, "healed %s %s (%s): %s\n", f.Kind, f.ID, f.Problem, f.Fix)
	}
	for i, u := range r.Unchecked {
		if !slices.ContainsFunc(r.Unchecked[:i], func(o Unchecked) bool { return o.What == u.What && o.Reason == u.Reason && o.Service == u.Service }) {
			_, _ = fmt.Fprintf(w, "not checked: %s %s (%s): %s\n", u.Service, u.What, strings.Join(r.checksWith(u), ", "), u.Reason)
		}
	}
	_, err := fmt.Fprintf(w, "%d checks in %.1f s: %s, %d healed, %d not checked\n",
		r.Checks, r.Took, count(len(r.Findings)), len(r.Healed), len(r.Unchecked))
	return err
}

// checksWith names the checks that could not ask the same for the same reason.
func (r *Report) checksWith(u Unchecked) []string {
	var names []string
	for _, o := range r.Unchecked {
		if o.What == u.What && o.Reason == u.Reason && o.Service == u.Service {
			names = append(names, o.Check)
		}
	}
	return names
}

func count(n int) string {
	switch n {
	case 0:
		return "nothing is broken"
	case 1:
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", n)
}
