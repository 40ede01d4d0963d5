package rest

import (
	"fmt"
	"net/url"
	"sort"
	"strings"
)

// node is one segment of the route tree. A literal child wins over {name},
// {name} over {name...}; on a dead end the next is tried. (The standard mux
// refuses sets such as /domains/config/{g}/default beside
// /domains/{id}/config/{g}, which OpenStack's APIs have.)
type node struct {
	literal map[string]*node
	param   *node
	rest    *node
	routes  map[string][]*Route // by method
	names   map[*Route][]string // parameter names in order
}

func newNode() *node {
	return &node{literal: map[string]*node{}, routes: map[string][]*Route{}, names: map[*Route][]string{}}
}

func (n *node) add(r *Route) error {
	var names []string
	at := n
	for seg := range strings.SplitSeq(strings.Trim(r.Path, "/"), "/") {
		name, isParam := strings.CutPrefix(seg, "{")
		name = strings.TrimSuffix(name, "}")
		var next **node
		switch {
		case isParam && strings.HasSuffix(name, "..."):
			name, next = strings.TrimSuffix(name, "..."), &at.rest
		case isParam:
			next = &at.param
		default:
			if at.literal[seg] == nil {
				at.literal[seg] = newNode()
			}
			at = at.literal[seg]
			continue
		}
		if *next == nil {
			*next = newNode()
		}
		at = *next
		names = append(names, name)
	}
	for _, o := range at.routes[r.Method] {
		if o.Action == r.Action && o.Since == r.Since && o.Until == r.Until {
			return fmt.Errorf("route %s %s#%s stands twice in the table", r.Method, r.Path, r.Action)
		}
	}
	at.routes[r.Method] = append(at.routes[r.Method], r)
	at.names[r] = names
	return nil
}

// find returns the node for a path and the values of its parameters.
func (n *node) find(segs []string) (*node, []string) {
	if len(segs) == 0 {
		if len(n.routes) > 0 {
			return n, nil
		}
		return nil, nil
	}
	if l := n.literal[segs[0]]; l != nil {
		if found, vals := l.find(segs[1:]); found != nil {
			return found, vals
		}
	}
	if n.param != nil && segs[0] != "" {
		if found, vals := n.param.find(segs[1:]); found != nil {
			return found, append([]string{segs[0]}, vals...)
		}
	}
	if n.rest != nil && len(n.rest.routes) > 0 {
		return n.rest, []string{strings.Join(segs, "/")}
	}
	return nil, nil
}

// segments splits an escaped path, so that %2F stays inside its segment.
func segments(u *url.URL) []string {
	p := strings.Trim(u.EscapedPath(), "/")
	if p == "" {
		return []string{""}
	}
	segs := strings.Split(p, "/")
	for i, s := range segs {
		if v, err := url.PathUnescape(s); err == nil {
			segs[i] = v
		}
	}
	return segs
}

func (n *node) allow() []string {
	var m []string
	for method := range n.routes {
		m = append(m, method)
	}
	if n.routes["GET"] != nil && n.routes["HEAD"] == nil {
		m = append(m, "HEAD")
	}
	sort.Strings(m)
	return m
}
