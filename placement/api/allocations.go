package api

import (
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/rest"
)

// claimBody is what a consumer is to hold. What a version does not know its
// schema has kept out.
type claimBody struct {
	Allocations map[string]struct {
		Resources map[string]int `json:"resources"`
	} `json:"allocations"`
	Generation *int    `json:"consumer_generation"`
	ProjectID  string  `json:"project_id"`
	UserID     string  `json:"user_id"`
	Type       *string `json:"consumer_type"`
}

// listBody is claimBody before 1.12.
type listBody struct {
	Allocations []struct {
		Provider struct {
			UUID string `json:"uuid"`
		} `json:"resource_provider"`
		Resources map[string]int `json:"resources"`
	} `json:"allocations"`
	ProjectID string `json:"project_id"`
	UserID    string `json:"user_id"`
}

func (b *claimBody) claim(r *rest.Request, consumer string) placement.Claim {
	c := placement.Claim{
		ConsumerUUID: consumer, CheckGeneration: r.Version().AtLeast(rest.V("1.28")), Generation: b.Generation,
		ProjectID: b.ProjectID, UserID: b.UserID, Type: b.Type,
	}
	for provider, x := range b.Allocations {
		c.Add(dashed(provider), x.Resources)
	}
	return c
}

func (b *listBody) claim(consumer string) placement.Claim {
	c := placement.Claim{ConsumerUUID: consumer, ProjectID: b.ProjectID, UserID: b.UserID}
	for _, x := range b.Allocations {
		c.Add(dashed(x.Provider.UUID), x.Resources)
	}
	return c
}

func (a *api) setAllocations(r *rest.Request) (any, error) {
	if !isUUID(r.Var("consumer")) {
		return nil, fault.Invalidf("Malformed consumer_uuid: %s", r.Var("consumer"))
	}
	consumer := dashed(r.Var("consumer"))
	var claim placement.Claim
	if r.Version().Less(rest.V("1.12")) {
		var in listBody
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		claim = in.claim(consumer)
	} else {
		var in claimBody
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		claim = in.claim(r, consumer)
	}
	return nil, a.manager.SetAllocations(r.Context(), []placement.Claim{claim})
}

func claimsOf(r *rest.Request, in map[string]claimBody) []placement.Claim {
	claims := make([]placement.Claim, 0, len(in))
	for consumer, b := range in {
		claims = append(claims, b.claim(r, dashed(consumer)))
	}
	slices.SortFunc(claims, func(a, b placement.Claim) int { return strings.Compare(a.ConsumerUUID, b.ConsumerUUID) })
	return claims
}

func (a *api) setManyAllocations(r *rest.Request) (any, error) {
	var in map[string]claimBody
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return nil, a.manager.SetAllocations(r.Context(), claimsOf(r, in))
}

func (a *api) deleteAllocations(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteAllocations(r.Context(), dashed(r.Var("consumer")))
}

func (a *api) showAllocations(r *rest.Request) (any, error) {
	c, list, err := a.manager.ConsumerAllocations(r.Context(), dashed(r.Var("consumer")))
	if err != nil {
		return nil, err
	}
	byProvider := map[string]object{}
	var last time.Time
	for _, h := range list {
		p := byProvider[h.ProviderUUID]
		if p == nil {
			p = object{"generation": h.ProviderGeneration, "resources": map[string]int{}}
			byProvider[h.ProviderUUID] = p
		}
		p["resources"].(map[string]int)[h.ResourceClass] = h.Used
		last = latest(last, h.CreatedAt)
	}
	modified(r, last)
	out := object{"allocations": byProvider}
	if c == nil {
		return out, nil
	}
	if r.Version().AtLeast(rest.V("1.12")) {
		out["project_id"], out["user_id"] = c.ProjectID, c.UserID
	}
	if r.Version().AtLeast(rest.V("1.28")) {
		out["consumer_generation"] = c.Generation
	}
	if r.Version().AtLeast(rest.V("1.38")) {
		out["consumer_type"] = c.TypeName()
	}
	return out, nil
}

func (a *api) providerAllocations(r *rest.Request) (any, error) {
	p, list, err := a.manager.ProviderAllocations(r.Context(), r.Var("uuid"))
	if err != nil {
		return nil, err
	}
	byConsumer := map[string]object{}
	var last time.Time
	for _, h := range list {
		c := byConsumer[h.ConsumerUUID]
		if c == nil {
			c = object{"resources": map[string]int{}}
			if r.Version().AtLeast(rest.V("1.28")) {
				c["consumer_generation"] = h.ConsumerGeneration
			}
			byConsumer[h.ConsumerUUID] = c
		}
		c["resources"].(map[string]int)[h.ResourceClass] = h.Used
		last = latest(last, h.CreatedAt)
	}
	modified(r, last)
	return object{"resource_provider_generation": p.Generation, "allocations": byConsumer}, nil
}

func (a *api) reshape(r *rest.Request) (any, error) {
	var in struct {
		Inventories map[string]struct {
			Generation  int                      `json:"resource_provider_generation"`
			Inventories map[string]inventoryBody `json:"inventories"`
		} `json:"inventories"`
		Allocations map[string]claimBody `json:"allocations"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	var shapes []placement.Shape
	for provider, s := range in.Inventories {
		provider = dashed(provider)
		shapes = append(shapes, placement.Shape{ProviderUUID: provider, Generation: s.Generation, Inventories: inventoriesOf(provider, s.Inventories)})
	}
	slices.SortFunc(shapes, func(a, b placement.Shape) int { return strings.Compare(a.ProviderUUID, b.ProviderUUID) })
	return nil, a.manager.Reshape(r.Context(), shapes, claimsOf(r, in.Allocations))
}
