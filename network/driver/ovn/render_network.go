package ovn

import (
	"strconv"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

func keyNetwork(id string) string { return "network/" + id }

// switchPrefix begins the names of logical switches; the network's id follows.
const switchPrefix = "tropo-"

// owned makes a row of an object.
func owned(o driver.Object, table, key string, columns ovsdb.Row) row {
	return row{ref: ref{table, key}, owner: o.String(), columns: columns}
}

// in hangs a row below another.
func (r row) in(table, key string) row {
	r.parent = ref{table, key}
	_, r.column = holders(r.table)
	return r
}

// renderNetwork makes a logical switch and, for provider networks, the
// localnet port to the physical network.
func renderNetwork(n driver.Network) render {
	return func(ovsdb.View) (*plan, error) {
		if err := n.Validate(); err != nil {
			return nil, err
		}
		o := driver.Object{Kind: driver.ObjectNetwork, ID: n.ID}
		ls := owned(o, tableSwitch, keyNetwork(n.ID), ovsdb.Row{"name": switchPrefix + n.ID, "other_config": map[string]string{"mcast_snoop": "false"}})
		ls.marks = map[string]string{"tropo:name": n.Name, "tropo:mtu": strconv.Itoa(n.MTU)}
		p := &plan{rows: []row{ls}}
		if n.Type == driver.TypeGeneve {
			return p, nil
		}
		localnet := owned(o, tableSwitchPort, "localnet/"+n.ID, ovsdb.Row{
			"name": "provnet-" + n.ID, "type": "localnet", "addresses": []string{"unknown"},
			"options": map[string]string{"network_name": n.Physical}, "tag": nil, "enabled": nil,
		}).in(tableSwitch, keyNetwork(n.ID))
		if n.Type == driver.TypeVLAN {
			localnet.columns["tag"] = n.VLAN
		}
		p.rows = append(p.rows, localnet)
		return p, nil
	}
}
