// Package compute holds the nouns of the compute service (OpenStack Nova,
// API v2.1): servers and their states, flavors, key pairs, hosts, aggregates,
// server groups, quotas, and the messages between its manager and its agents.
//
// The roles are packages of their own: api (HTTP), manager (operations, sagas),
// scheduler, agent (one per host), driver (hypervisors), store (SQL), guestdata
// (what a guest reads about itself) and metadata (the service that it asks).
//
// Source: https://docs.openstack.org/api-ref/compute/
package compute
