package api

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/rest"
)

// inventoryBody is an inventory as the API writes it; what is absent gets its
// default.
type inventoryBody struct {
	Total           int      `json:"total"`
	Reserved        int      `json:"reserved"`
	MinUnit         *int     `json:"min_unit"`
	MaxUnit         *int     `json:"max_unit"`
	StepSize        *int     `json:"step_size"`
	AllocationRatio *float64 `json:"allocation_ratio"`
}

func (b *inventoryBody) inventory(provider, class string) placement.Inventory {
	i := placement.Inventory{
		ProviderUUID: provider, ResourceClass: class, Total: b.Total, Reserved: b.Reserved,
		MinUnit: 1, MaxUnit: placement.MaxInt, StepSize: 1, AllocationRatio: 1,
	}
	if b.MinUnit != nil {
		i.MinUnit = *b.MinUnit
	}
	if b.MaxUnit != nil {
		i.MaxUnit = *b.MaxUnit
	}
	if b.StepSize != nil {
		i.StepSize = *b.StepSize
	}
	if b.AllocationRatio != nil {
		i.AllocationRatio = *b.AllocationRatio
	}
	return i
}

// ratio always has a decimal point in JSON, as clients in typed languages tell
// a float by it.
type ratio float64

// MarshalJSON implements json.Marshaler.
func (f ratio) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(f), 'g', -1, 64)
	if !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return b, nil
}

func viewInventory(i *placement.Inventory) object {
	return object{
		"total": i.Total, "reserved": i.Reserved, "min_unit": i.MinUnit, "max_unit": i.MaxUnit,
		"step_size": i.StepSize, "allocation_ratio": ratio(i.AllocationRatio),
	}
}

func viewInventories(r *rest.Request, p *placement.Provider, list []placement.Inventory) object {
	out := object{}
	var last time.Time
	for n := range list {
		out[list[n].ResourceClass] = viewInventory(&list[n])
		last = latest(last, list[n].UpdatedAt)
	}
	modified(r, last)
	return object{"resource_provider_generation": p.Generation, "inventories": out}
}

func viewOne(r *rest.Request, p *placement.Provider, i *placement.Inventory) object {
	modified(r, i.UpdatedAt)
	out := viewInventory(i)
	out["resource_provider_generation"] = p.Generation
	return out
}

func mayReserveAll(r *rest.Request) bool { return r.Version().AtLeast(rest.V("1.26")) }

func (a *api) listInventories(r *rest.Request) (any, error) {
	p, list, err := a.manager.Inventories(r.Context(), r.Var("uuid"))
	if err != nil {
		return nil, err
	}
	return viewInventories(r, p, list), nil
}

func (a *api) setInventories(r *rest.Request) (any, error) {
	var in struct {
		Generation  int                      `json:"resource_provider_generation"`
		Inventories map[string]inventoryBody `json:"inventories"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	p, list, err := a.manager.SetInventories(r.Context(), r.Var("uuid"), in.Generation, inventoriesOf(r.Var("uuid"), in.Inventories), mayReserveAll(r))
	if err != nil {
		return nil, err
	}
	return viewInventories(r, p, list), nil
}

func inventoriesOf(provider string, in map[string]inventoryBody) []placement.Inventory {
	list := make([]placement.Inventory, 0, len(in))
	for class, b := range in {
		list = append(list, b.inventory(provider, class))
	}
	slices.SortFunc(list, func(a, b placement.Inventory) int { return strings.Compare(a.ResourceClass, b.ResourceClass) })
	return list
}

func (a *api) createInventory(r *rest.Request) (any, error) {
	var in struct {
		inventoryBody
		Generation *int   `json:"resource_provider_generation"`
		Class      string `json:"resource_class"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	i := in.inventory(r.Var("uuid"), in.Class)
	p, err := a.manager.AddInventory(r.Context(), in.Generation, i, mayReserveAll(r))
	if err != nil {
		return nil, err
	}
	r.Answer().Set("Location", r.Link("/resource_providers/"+p.UUID+"/inventories/"+in.Class))
	return viewOne(r, p, &i), nil
}

func (a *api) showInventory(r *rest.Request) (any, error) {
	p, i, err := a.manager.Inventory(r.Context(), r.Var("uuid"), r.Var("class"))
	if err != nil {
		return nil, err
	}
	return viewOne(r, p, i), nil
}

func (a *api) updateInventory(r *rest.Request) (any, error) {
	var in struct {
		inventoryBody
		Generation int `json:"resource_provider_generation"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	i := in.inventory(r.Var("uuid"), r.Var("class"))
	p, err := a.manager.UpdateInventory(r.Context(), in.Generation, i, mayReserveAll(r))
	if err != nil {
		return nil, err
	}
	return viewOne(r, p, &i), nil
}

func (a *api) deleteInventory(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteInventory(r.Context(), r.Var("uuid"), r.Var("class"))
}

// deleteInventories came with 1.5; before, the resource was there without the
// method.
func (a *api) deleteInventories(r *rest.Request) (any, error) {
	if r.Version().Less(rest.V("1.5")) {
		return nil, fault.New(fault.NotAllowed, "The method specified is not allowed for this resource.")
	}
	return nil, a.manager.DeleteInventories(r.Context(), r.Var("uuid"))
}
