// Package identity holds the nouns of the Identity service: domains and
// projects, users and groups, roles and their assignments, the catalog,
// tokens' revocation, delegation, federation and limits, with the rules that
// need nothing but them.
//
// Source: https://docs.openstack.org/api-ref/identity/v3/
package identity
