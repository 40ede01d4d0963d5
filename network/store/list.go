package store

import (
	"context"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
)

// Query asks for a page of rows.
type Query struct {
	Scope network.Scope
	// Filters are attribute values as the request writes them; several
	// values of one attribute mean any of them.
	Filters map[string][]string
	Page    db.Page // sort columns are attribute names
}

// List returns a page of the rows that the scope may see.
func List[T any, P network.Row[T]](ctx context.Context, s *Store, q Query) ([]T, error) {
	k, cols := KindOf[T, P](), columnsOf[T]()
	w := visible(db.Where(), k, q.Scope)
	for name, values := range q.Filters {
		if err := s.filter(w, k, q.Scope, cols, name, values, fieldKind[T](name)); err != nil {
			return nil, err
		}
	}
	p := q.Page
	p.Sort = nil
	for _, by := range q.Page.Sort {
		col, ok := cols[by.Column]
		if !ok {
			return nil, fault.Invalidf("'%s' is invalid attribute for sort_keys", by.Column).WithType("HTTPBadRequest")
		}
		p.Sort = append(p.Sort, db.Sort{Column: col, Desc: by.Desc})
	}
	if len(p.Sort) == 0 {
		p.Sort = []db.Sort{{Column: "created_at"}}
	}
	list, err := db.SelectPage[T](ctx, s.db, k.Table, w, p)
	if err != nil {
		return nil, err
	}
	return list, decorate[T, P](ctx, s, q.Scope, list)
}

// filter adds the condition of one attribute.
func (s *Store) filter(w *db.Cond, k *network.Kind, sc network.Scope, cols map[string]string, name string, values []string, kind valueKind) error {
	if name == "tenant_id" {
		name = "project_id"
	}
	if done, err := filterTags(w, k, name, values); done || err != nil {
		return err
	}
	if done, err := filterSpecial(w, k, sc, name, values); done || err != nil {
		return err
	}
	col, ok := cols[name]
	if !ok {
		return fault.Invalidf("['%s'] is invalid attribute for filtering", name).WithType("HTTPBadRequest")
	}
	args, null, err := kind.args(name, values)
	if err != nil {
		return err
	}
	switch {
	case kind == valueJSON:
		s.contains(w, col, values)
	case null:
		w.Raw("("+db.Quote(col)+" IS NULL OR "+db.Quote(col)+" IN ("+marks(max(len(args), 1))+"))", orEmpty(args)...)
	default:
		w.In(col, args)
	}
	return nil
}

// contains asks for a JSON array of texts that holds one of the values.
func (s *Store) contains(w *db.Cond, col string, values []string) {
	text := "CAST(" + db.Quote(col) + " AS TEXT)"
	if s.db.Dialect() == db.MySQL {
		text = "CAST(" + db.Quote(col) + " AS CHAR)"
	}
	var ors []string
	var args []any
	for _, v := range values {
		ors, args = append(ors, text+" LIKE ? ESCAPE '!'"), append(args, `%"`+db.Escape(v)+`"%`)
	}
	w.Raw(strings.Join(ors, " OR "), args...)
}

func orEmpty(args []any) []any {
	if len(args) == 0 {
		return []any{""}
	}
	return args
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// filterTags handles tags (all of them), tags-any, not-tags (not all of them)
// and not-tags-any.
func filterTags(w *db.Cond, k *network.Kind, name string, values []string) (bool, error) {
	switch name {
	case "tags", "tags-any", "not-tags", "not-tags-any":
	default:
		return false, nil
	}
	var tags []any
	seen := map[string]bool{}
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if !seen[t] {
				seen[t] = true
				tags = append(tags, t)
			}
		}
	}
	if len(tags) > 50 {
		return true, fault.Invalidf("At most 50 tags can be asked for.").WithType("HTTPBadRequest")
	}
	count := "(SELECT COUNT(*) FROM tags WHERE tags.resource_id = " + db.Quote(k.Table) + ".id AND tags.tag IN (" + marks(len(tags)) + "))"
	switch name {
	case "tags":
		w.Raw(count+" = ?", append(tags, len(tags))...)
	case "tags-any":
		w.Raw(count+" > 0", tags...)
	case "not-tags":
		w.Raw(count+" < ?", append(tags, len(tags))...)
	case "not-tags-any":
		w.Raw(count+" = 0", tags...)
	}
	return true, nil
}

// filterSpecial handles attributes that are no columns of the kind's table.
func filterSpecial(w *db.Cond, k *network.Kind, sc network.Scope, name string, values []string) (bool, error) {
	switch k.Name + "." + name {
	case "port.fixed_ips":
		return true, filterFixedIPs(w, values)
	case "port.security_groups":
		w.Raw("id IN (SELECT port_id FROM port_security_groups WHERE group_id IN ("+marks(len(values))+"))", anys(values)...)
		return true, nil
	case "port.ip_allocation", "port.dns_assignment":
		return true, nil
	case "network.subnets":
		w.Raw("id IN (SELECT network_id FROM subnets WHERE id IN ("+marks(len(values))+"))", anys(values)...)
		return true, nil
	case "subnet.shared", "subnet.router:external":
		yes, err := oneBool(name, values)
		if err != nil {
			return true, err
		}
		not := ""
		if !yes {
			not = "NOT "
		}
		if name == "router:external" {
			w.Raw("network_id "+not+"IN (SELECT id FROM networks WHERE external = ?)", true)
			return true, nil
		}
		targets := sharedTargets(sc)
		w.Raw("network_id "+not+"IN (SELECT object_id FROM rbac_policies WHERE action = ? AND target_project IN ("+marks(len(targets))+"))", append([]any{network.ActionShared}, targets...)...)
		return true, nil
	case "rbac_policy.target_project":
		w.In("target_project", values)
		return true, nil
	case "agent.alive", "router.external_gateway_info":
		return true, nil
	}
	if name == "shared" && k.Shared {
		yes, err := oneBool(name, values)
		if err != nil {
			return true, err
		}
		not := ""
		if !yes {
			not = "NOT "
		}
		targets := sharedTargets(sc)
		w.Raw("id "+not+"IN (SELECT object_id FROM rbac_policies WHERE action = ? AND target_project IN ("+marks(len(targets))+"))", append([]any{network.ActionShared}, targets...)...)
		return true, nil
	}
	return false, nil
}

// filterFixedIPs handles ip_address=, subnet_id= and ip_address_substr=: the
// first two are alternatives among themselves, and all kinds must hold.
func filterFixedIPs(w *db.Cond, values []string) error {
	byKey := map[string][]string{}
	for _, v := range values {
		key, val, ok := strings.Cut(v, "=")
		if !ok {
			return fault.Invalidf("Invalid input for fixed_ips. Reason: '%s' is not of the form key=value.", v).WithType("HTTPBadRequest")
		}
		byKey[key] = append(byKey[key], val)
	}
	for key, vals := range byKey {
		switch key {
		case "ip_address":
			w.Raw("id IN (SELECT port_id FROM allocations WHERE address IN ("+marks(len(vals))+"))", anys(vals)...)
		case "subnet_id":
			w.Raw("id IN (SELECT port_id FROM allocations WHERE subnet_id IN ("+marks(len(vals))+"))", anys(vals)...)
		case "ip_address_substr":
			var ors []string
			var args []any
			for _, v := range vals {
				ors = append(ors, "address LIKE ? ESCAPE '!'")
				args = append(args, "%"+db.Escape(v)+"%")
			}
			w.Raw("id IN (SELECT port_id FROM allocations WHERE "+strings.Join(ors, " OR ")+")", args...)
		case "ip":
			w.Raw("id IN (SELECT port_id FROM allocations WHERE address IN ("+marks(len(vals))+"))", anys(vals)...)
		default:
			return fault.Invalidf("Invalid input for fixed_ips. Reason: unknown key '%s'.", key).WithType("HTTPBadRequest")
		}
	}
	return nil
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func sharedTargets(sc network.Scope) []any {
	if sc.ProjectID == "" {
		return []any{"*"}
	}
	return []any{"*", sc.ProjectID}
}
