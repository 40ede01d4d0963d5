package ovn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// attempts bounds how often a change is planned anew because another writer
// or a lost connection came between.
const attempts = 5

// errStale says that the cache was behind the database.
var errStale = errors.New("ovn: another writer was faster")

// apply makes the rows of owner equal to what r renders, in one transaction,
// and says whether anything had to change.
func (d *Driver) apply(ctx context.Context, owner driver.Object, r render) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	var last error
	for range attempts {
		var ops []ovsdb.Operation
		var partly error
		err := d.client.View(ctx, func(v ovsdb.View) error {
			p, err := r(v)
			if p == nil {
				return err
			}
			partly = err
			ops, err = (&diff{view: v, owner: owner.String()}).operations(p)
			return err
		})
		if err != nil {
			return false, unavailable(err)
		}
		if len(ops) == 0 {
			return false, partly
		}
		last = d.commit(ctx, ops)
		if last == nil {
			return true, partly
		}
		if !errors.Is(last, errStale) && !errors.Is(last, ovsdb.ErrDisconnected) {
			break
		}
	}
	return false, unavailable(fmt.Errorf("%s: %w", owner, last))
}

func (d *Driver) commit(ctx context.Context, ops []ovsdb.Operation) error {
	results, err := d.client.Transact(ctx, ops...)
	var refused *ovsdb.Error
	// A guard did not hold, or an index has the row already: the cache,
	// which is current now, shows whose.
	if errors.As(err, &refused) && (refused.Name == "timed out" || refused.Name == "constraint violation") {
		return fmt.Errorf("%w: %w", errStale, err)
	}
	// The leadership moved: the change is done or not, which a new look shows.
	if refused != nil && refused.Name == "cluster error" {
		return fmt.Errorf("%w: %w", ovsdb.ErrDisconnected, err)
	}
	if err != nil {
		return err
	}
	for i, res := range results {
		if op := ops[i].Op(); (op == "mutate" || op == "update") && res.Count == 0 {
			return errStale // the row was gone
		}
	}
	return nil
}

// diff turns a plan into operations.
type diff struct {
	view  ovsdb.View
	owner string

	wanted map[ref]any // UUID or Named of each wanted row
	fresh  map[ref]bool
	guards map[string]ovsdb.Operation // what must still hold, so that two writers don't both insert
	ops    []ovsdb.Operation
}

func (d *diff) operations(p *plan) ([]ovsdb.Operation, error) {
	d.wanted, d.fresh, d.guards = map[ref]any{}, map[ref]bool{}, map[string]ovsdb.Operation{}
	keep := map[ovsdb.UUID]bool{}
	for i, r := range p.rows {
		if r.partial {
			continue
		}
		if old := d.current(r); old != nil {
			d.wanted[r.ref] = old.UUID()
			keep[old.UUID()] = true
			continue
		}
		d.wanted[r.ref] = ovsdb.Named(fmt.Sprintf("r%d", i))
		d.fresh[r.ref] = true
	}
	d.dropOthers(p, keep)
	for _, r := range p.rows {
		if err := d.put(r); err != nil {
			return nil, err
		}
	}
	var guarded []ovsdb.Operation
	for _, name := range slices.Sorted(maps.Keys(d.guards)) {
		guarded = append(guarded, d.guards[name])
	}
	return append(guarded, d.ops...), nil
}

// current returns the row to change for r. A child that hangs elsewhere is
// not it: it is replaced.
func (d *diff) current(r row) ovsdb.Row {
	old := find(d.view, r.ref)
	if old == nil || r.column == "" {
		return old
	}
	if parent := find(d.view, r.parent); parent == nil || !parent.Has(r.column, old.UUID()) {
		return nil
	}
	return old
}

// dropOthers removes the owner's rows that are not kept, and p.remove.
func (d *diff) dropOthers(p *plan, keep map[ovsdb.UUID]bool) {
	for _, table := range managedTables() {
		for _, old := range d.view.Find(table, indexOwner, d.owner) {
			if !keep[old.UUID()] {
				d.drop(table, old)
			}
		}
	}
	for _, r := range p.remove {
		for _, old := range d.view.Find(r.table, indexKey, r.key) {
			if !keep[old.UUID()] {
				d.drop(r.table, old)
			}
		}
	}
}

// drop deletes a root row, or takes a child from the row that holds it, which
// ends it (ovsdb-server collects unreferenced rows of non-root tables).
func (d *diff) drop(table string, old ovsdb.Row) {
	u := old.UUID()
	if d.view.Schema().Tables[table].IsRoot {
		d.ops = append(d.ops, ovsdb.Delete(table, ovsdb.ByUUID(u)))
		return
	}
	parents, column := holders(table)
	likely := find(d.view, parseRef(old.Get("external_ids", markParent)))
	if likely != nil && likely.Has(column, u) {
		d.take(parents, column, likely.UUID(), u)
		return
	}
	for _, p := range d.view.Rows(parents) {
		if p.Has(column, u) {
			d.take(parents, column, p.UUID(), u)
		}
	}
}

func (d *diff) take(table, column string, parent, child ovsdb.UUID) {
	d.ops = append(d.ops, ovsdb.Mutate(table, ovsdb.ByUUID(parent), ovsdb.Mutation{Column: column, Mutator: "delete", Value: ovsdb.UUIDs(child)}))
}

// holders tells where a non-root table's rows hang.
func holders(table string) (parent, column string) {
	switch table {
	case tableSwitchPort:
		return tableSwitch, "ports"
	case tableACL:
		return tablePortGroup, "acls"
	case tableRouterPort:
		return tableRouter, "ports"
	case tableRoute:
		return tableRouter, "static_routes"
	case tableNAT:
		return tableRouter, "nat"
	}
	return tableRouterPort, "gateway_chassis"
}

// put inserts or updates one row.
func (d *diff) put(r row) error {
	columns := maps.Clone(r.columns)
	if columns == nil {
		columns = ovsdb.Row{}
	}
	for column, refs := range r.links {
		columns[column] = d.resolve(refs)
	}
	if !r.partial {
		columns["external_ids"] = r.externalIDs()
	}
	if d.fresh[r.ref] && !r.partial {
		return d.insert(r, columns)
	}
	old := find(d.view, r.ref)
	if old == nil {
		return nil // a partial row whose row is gone
	}
	changed := ovsdb.Row{}
	for column, v := range columns {
		want, err := d.view.Schema().Canonical(r.table, column, v)
		if err != nil {
			return err
		}
		if !ovsdb.Equal(want, old[column]) {
			changed[column] = want
		}
	}
	if len(changed) > 0 {
		d.ops = append(d.ops, ovsdb.Update(r.table, ovsdb.ByUUID(old.UUID()), changed))
	}
	if !r.partial {
		d.join(r, old)
	}
	return nil
}

func (d *diff) insert(r row, columns ovsdb.Row) error {
	name := d.wanted[r.ref].(ovsdb.Named)
	if r.column == "" {
		same := []ovsdb.Condition{{Column: "external_ids", Function: "includes", Value: ovsdb.Map{markKey: r.key}}}
		d.guards[r.ref.String()] = ovsdb.Wait(r.table, same, []string{"_uuid"}, true, nil, 0)
	}
	d.ops = append(d.ops, ovsdb.Insert(r.table, columns, name))
	if r.column != "" {
		parent, ok := d.wanted[r.parent]
		if !ok {
			p := find(d.view, r.parent)
			if p == nil {
				return fault.Missing(containerName(r.parent.table), r.parent.key)
			}
			parent = p.UUID()
		}
		if p := find(d.view, r.parent); p != nil && r.table != tableSwitchPort { // their names are unique anyway
			d.guards[r.parent.String()+" "+r.column] = ovsdb.Wait(r.parent.table, ovsdb.ByUUID(p.UUID()), []string{r.column}, true, []ovsdb.Row{{r.column: p[r.column]}}, 0)
		}
		where := []ovsdb.Condition{{Column: "_uuid", Function: "==", Value: parent}}
		d.ops = append(d.ops, ovsdb.Mutate(r.parent.table, where, ovsdb.Mutation{Column: r.column, Mutator: "insert", Value: ovsdb.Set{name}}))
	}
	d.join(r, nil)
	return nil
}

func containerName(table string) string {
	switch table {
	case tableSwitch:
		return "Network"
	case tableRouter:
		return "Router"
	}
	return table
}

// join puts a switch port into its port groups and out of those that it was
// in before. Groups that are not there take the port when they come.
func (d *diff) join(r row, old ovsdb.Row) {
	if r.table != tableSwitchPort {
		return
	}
	wanted := map[string]bool{}
	for _, g := range r.groups {
		wanted[g] = true
		if pg := find(d.view, ref{tablePortGroup, g}); pg != nil && (old == nil || !pg.Has("ports", old.UUID())) {
			d.member(pg, "insert", d.wanted[r.ref])
		}
	}
	if old == nil {
		return
	}
	for _, g := range splitGroups(old) {
		if pg := find(d.view, ref{tablePortGroup, g}); pg != nil && !wanted[g] && pg.Has("ports", old.UUID()) {
			d.member(pg, "delete", old.UUID())
		}
	}
}

func (d *diff) member(pg ovsdb.Row, mutator string, port any) {
	d.ops = append(d.ops, ovsdb.Mutate(tablePortGroup, ovsdb.ByUUID(pg.UUID()), ovsdb.Mutation{Column: "ports", Mutator: mutator, Value: ovsdb.Set{port}}))
}

// resolve returns the ids of rows, wanted or there.
func (d *diff) resolve(refs []ref) ovsdb.Set {
	out := ovsdb.Set{}
	for _, r := range refs {
		if id, ok := d.wanted[r]; ok {
			out = append(out, id)
			continue
		}
		if old := find(d.view, r); old != nil {
			out = append(out, old.UUID())
		}
	}
	return out
}

func (r row) externalIDs() map[string]string {
	out := map[string]string{markKey: r.key, markOwner: r.owner}
	maps.Copy(out, r.marks)
	if r.column != "" {
		out[markParent] = r.parent.String()
	}
	if len(r.groups) > 0 {
		out[markGroups] = strings.Join(slices.Sorted(slices.Values(r.groups)), ",")
	}
	return out
}
