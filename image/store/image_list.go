package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/image"
)

// Images returns a page of the images that v sees and f lets through.
func (s *Store) Images(ctx context.Context, v image.Viewer, f image.Filter, p db.Page) ([]image.Image, error) {
	w := visible(v, f)
	w.Eq("hidden", f.Hidden)
	if f.Owner != nil {
		w.Eq("owner_id", *f.Owner)
	}
	if f.Protected != nil {
		w.Eq("protected", *f.Protected)
	}
	if f.SizeMin != nil {
		w.Raw("size_bytes >= ?", *f.SizeMin)
	}
	if f.SizeMax != nil {
		w.Raw("size_bytes <= ?", *f.SizeMax)
	}
	for _, t := range f.Tags {
		w.Raw("EXISTS (SELECT 1 FROM image_tags t WHERE t.image_id = images.id AND t.tag = ?)", t)
	}
	names := make([]string, 0, len(f.Properties))
	for n := range f.Properties {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		w.Raw("EXISTS (SELECT 1 FROM image_properties p WHERE p.image_id = images.id AND p.name = ? AND p.text_value = ?)", n, f.Properties[n])
	}
	for _, m := range f.Matches {
		if err := match(w, m); err != nil {
			return nil, err
		}
	}
	list, err := db.SelectPage[image.Image](ctx, s.db, "images", w, p)
	if err != nil {
		return nil, err
	}
	return list, s.readDetails(ctx, list)
}

func match(w *db.Cond, m image.Match) error {
	if m.Op == "in" {
		w.In(m.Column, m.Values)
		return nil
	}
	op := map[string]string{"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[m.Op]
	if op == "" || len(m.Values) != 1 {
		return fmt.Errorf("comparison %q with %d values", m.Op, len(m.Values))
	}
	w.Raw(db.Quote(m.Column)+" "+op+" ?", m.Values[0])
	return nil
}

// visible is what a viewer sees: its own, public ones, those shared with it
// that it accepted; community images only when asked for. An admin sees all.
func visible(v image.Viewer, f image.Filter) *db.Cond {
	w := db.Where()
	var ors []string
	var args []any
	add := func(sql string, a ...any) { ors, args = append(ors, sql), append(args, a...) }
	want := image.Visibility(f.Visibility)
	all := want == "all"
	if want == "" || all || want == image.Public {
		add("visibility = 'public'")
	}
	if all || want == image.Community {
		add("visibility = 'community'")
	}
	own := "owner_id = ?"
	switch {
	case v.Admin && (want == "" || all):
		add("visibility <> 'community'")
		add(own, v.Project)
	case v.Admin:
		add("visibility = ?", string(want))
	case want == "" || all:
		add(own, v.Project)
	default:
		add(own+" AND visibility = ?", v.Project, string(want))
	}
	if want == "" || all || want == image.Shared {
		sql := "visibility = 'shared' AND EXISTS (SELECT 1 FROM image_members m WHERE m.image_id = images.id AND m.member_id = ?"
		if status := f.MemberStatus; status == "all" {
			add(sql+")", v.Project)
		} else {
			if status == "" {
				status = string(image.MemberAccepted)
			}
			add(sql+" AND m.status = ?)", v.Project, status)
		}
	}
	return w.Raw("("+strings.Join(ors, ") OR (")+")", args...)
}
