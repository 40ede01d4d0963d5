package obs

// StepName is one of the 29 steps: who acts, and what it does.
type StepName struct {
	Step int
	Part string
	Name string
}

// Steps29 are the steps by which a server is born, in the classic description
// of OpenStack; step n is at index n-1. tropo's order differs where it is
// safer: the claim in placement stands between 10 and 11, and the manager, not
// the scheduler, casts to the host.
var Steps29 = [29]StepName{
	{1, "client", "The dashboard or command line asks Keystone to authenticate, over REST"},
	{2, "keystone", "Keystone checks the credentials and returns a token"},
	{3, "client", "The client sends \"boot instance\" with the token to nova-api"},
	{4, "nova-api", "nova-api asks Keystone whether the token is valid"},
	{5, "keystone", "Keystone answers with the validity, the user and the roles (some operations need a role)"},
	{6, "nova-api", "nova-api talks to the database"},
	{7, "database", "The first database record of the new server is written"},
	{8, "nova-api", "nova-api asks nova-scheduler, by rpc.call, for a host (host id) with the resources"},
	{9, "nova-scheduler", "nova-scheduler, listening on the queue, takes the request"},
	{10, "nova-scheduler", "nova-scheduler looks at the state of the compute resources and computes, by its algorithm, a host that fits"},
	{11, "nova-scheduler", "nova-scheduler updates the record with the chosen physical host"},
	{12, "nova-scheduler", "nova-scheduler sends nova-compute, by rpc.cast, the message to create the server"},
	{13, "nova-compute", "nova-compute takes the message from its queue"},
	{14, "nova-compute", "nova-compute asks nova-conductor, by rpc.call, for the server's record (flavor)"},
	{15, "nova-conductor", "nova-conductor takes the request from the queue"},
	{16, "nova-conductor", "nova-conductor queries the record"},
	{17, "nova-conductor", "nova-conductor gets the record from the database"},
	{18, "nova-conductor", "nova-conductor sends the record back as a message"},
	{19, "nova-compute", "nova-compute takes the record from the queue"},
	{20, "nova-compute", "nova-compute gets a token from Keystone and asks glance-api over HTTP for the image"},
	{21, "glance-api", "glance-api asks Keystone to validate the token"},
	{22, "nova-compute", "With the token valid, nova-compute gets the image (its location)"},
	{23, "nova-compute", "nova-compute, with a token, asks neutron-server over HTTP for the network"},
	{24, "neutron-server", "neutron-server asks Keystone to validate the token"},
	{25, "nova-compute", "nova-compute gets the network information"},
	{26, "nova-compute", "nova-compute, with a token, asks cinder-api over HTTP for persistent storage"},
	{27, "cinder-api", "cinder-api asks Keystone to validate the token"},
	{28, "nova-compute", "nova-compute gets the storage information"},
	{29, "nova-compute", "nova-compute calls the configured virtualisation driver, which creates the server"},
}
