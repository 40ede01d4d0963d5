package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/tropocloud/tropo/cluster"
)

// part is one row of the table of parts: a service, an agent, a supervisor.
type part struct {
	name string
	// roles: it starts on nodes that have any of them.
	roles []cluster.Role
	needs []string
	// start brings the part up; what must run until the end goes through
	// System.Go, what must be closed through System.onStop. Names of
	// services are those of the mount points.
	start func(ctx context.Context, s *System) error
}

// on reports whether the part starts on a node.
func (p part) on(n cluster.Node) bool { return slices.ContainsFunc(p.roles, n.Has) }

// order sorts the table so that each part comes after what it needs, and
// refuses circles and unknown names.
func order(parts []part) ([]part, error) {
	byName := map[string]part{}
	for _, p := range parts {
		if _, ok := byName[p.name]; ok {
			return nil, fmt.Errorf("part %s stands twice in the table", p.name)
		}
		byName[p.name] = p
	}
	var out []part
	done := map[string]bool{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		p, ok := byName[name]
		switch {
		case !ok:
			return fmt.Errorf("part %s needs %s, which is not in the table", path[len(path)-1], name)
		case slices.Contains(path, name):
			return fmt.Errorf("parts need each other: %v", append(path, name))
		case done[name]:
			return nil
		}
		for _, n := range p.needs {
			if err := visit(n, append(path, name)); err != nil {
				return err
			}
		}
		done[name] = true
		out = append(out, p)
		return nil
	}
	for _, p := range parts {
		if err := visit(p.name, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}
