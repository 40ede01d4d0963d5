// Package network is the vocabulary of the network service (Neutron v2.0):
// networks, subnets, ports, routers, floating IPs, security groups and what
// belongs to them, with their pure rules.
//
// A resource is one struct: the json tags are the attribute names of the API,
// the db tags the columns of its table. Attributes with db:"-" live in tables
// of their own or are computed.
package network
