# Targets are described by the `# doc:` line above them; `make` prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
GO ?= go
STATE ?= .demo
LISTEN ?= 127.0.0.1:5000
GUEST := .cache/guest.qcow2
export CGO_ENABLED ?= 0

.PHONY: help build test test-unit test-engines test-db test-brokers e2e crash-matrix chaos lint fmt golden guest demo clean-demo bench docs fuzz sim clean

help:
	@awk '/^# doc:/{d=substr($$0,8)} /^[a-z][a-z-]*:/{if(d){split($$1,t,":");printf "  %-12s %s\n",t[1],d;d=""}}' $(MAKEFILE_LIST)

# doc: build bin/tropo
build:
	$(GO) build -trimpath -o bin/tropo ./cmd/tropo

# doc: install what the tests need and run them: unit, services on three databases, end to end
test: lint test-unit test-engines e2e

# doc: unit and service tests with the race detector; what is about SQL on SQLite, PostgreSQL and MariaDB
test-unit:
	./deploy/packages.sh run guest test
	CGO_ENABLED=1 $(GO) run ./test/dbserver -- $(GO) test -race -timeout 30m ./...

# doc: every test of identity and placement on PostgreSQL, then on MariaDB
test-engines:
	./deploy/packages.sh test
	for e in postgres mysql; do TROPO_TEST_ENGINE=$$e $(GO) run ./test/dbserver -- $(GO) test -count=1 -timeout 20m ./identity/... ./placement/... || exit 1; done

# doc: every test of the services on PostgreSQL, then on MariaDB
test-db:
	./deploy/packages.sh test
	for e in postgres mysql; do TROPO_TEST_ENGINE=$$e $(GO) run ./test/dbserver -- $(GO) test -count=1 -timeout 20m \
	  ./identity/... ./image/... ./placement/... ./network/api ./network/agent ./compute/api ./compute/manager ./compute/metadata || exit 1; done

# doc: the buses against real brokers: RabbitMQ, and AMQP 1.0 by its plugin
test-brokers:
	./deploy/packages.sh brokers test
	TROPO_TEST_BROKERS=1 CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 20m ./bus/...

# doc: end-to-end tests: real guests, the real network, the unmodified command line, kill -9
e2e: build guest
	./deploy/packages.sh run client test
	TROPO_E2E=1 TROPO_BIN=$(CURDIR)/bin/tropo TROPO_GUEST=$(CURDIR)/$(GUEST) $(GO) run ./test/dbserver -- $(GO) test -p 1 -count=1 -timeout 60m -v ./test/e2e/... ./test/nodes/...
	TROPO_E2E=1 TROPO_BIN=$(CURDIR)/bin/tropo TROPO_GUEST=$(CURDIR)/$(GUEST) $(GO) test -count=1 -timeout 20m -v -run TestTwoNodes ./test/chaos

# doc: simulate whole clouds by seeds: SEEDS (200) from START (1) on; docs/howto/simulate.md
sim:
	SIM_SEEDS=$(or $(SEEDS),200) SIM_START=$(or $(START),1) $(GO) test -count=1 -timeout 12h -v -run 'TestHistories' ./test/sim | grep --line-buffered -v '^ *\(=== \|--- PASS\)'; exit $${PIPESTATUS[0]}

# doc: kill -9 at every step of every saga and on every way back, each recovered from by itself; half an hour
crash-matrix: build guest
	./deploy/packages.sh run
	TROPO_CHAOS=1 TROPO_E2E=1 TROPO_BIN=$(CURDIR)/bin/tropo TROPO_GUEST=$(CURDIR)/$(GUEST) $(GO) test -count=1 -timeout 90m -v -run TestCrashMatrix ./test/e2e

# doc: kill, cut, pause and restart what a cloud of six machines has, under load; the howtos on nodes; 20 minutes
chaos: build guest
	./deploy/packages.sh run client test brokers
	TROPO_CHAOS=1 TROPO_BIN=$(CURDIR)/bin/tropo TROPO_GUEST=$(CURDIR)/$(GUEST) $(GO) test -count=1 -timeout 20m -v -run 'TestChaos|TestHowto' ./test/chaos

# doc: go vet, staticcheck and gofumpt
lint:
	$(GO) vet ./...
	$(GO) tool -modfile=tools/tools.mod staticcheck ./...
	@test -z "$$($(GO) tool -modfile=tools/tools.mod gofumpt -l $$(git ls-files '*.go') | tee -a /dev/stderr)" || { echo "run make fmt" >&2; exit 1; }

# doc: format the code
fmt:
	$(GO) tool -modfile=tools/tools.mod gofumpt -w $$(git ls-files '*.go')

# doc: write the golden files anew; look at the diff before committing it
golden:
	$(GO) test ./identity/api ./image/api ./placement/api ./compute/api ./network/api ./rest -update

# doc: build the small guest image
guest:
	./deploy/packages.sh guest
	$(GO) run ./tools/guestimage -o $(GUEST)

# doc: install what is needed, start a cloud, boot a guest and log in to it
demo: build guest
	./deploy/packages.sh run client
	STATE=$(STATE) LISTEN=$(LISTEN) IMAGE=$(GUEST) ./deploy/demo.sh up

# doc: end the demo and remove everything it made
clean-demo: build
	STATE=$(STATE) ./deploy/demo.sh down

# doc: benchmarks
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# doc: write the reference of the options anew
docs: build
	bin/tropo config reference > docs/reference/configuration.md
	bin/tropo config sample > deploy/tropo.conf.sample

# doc: fuzz every fuzz target for FUZZTIME (default 20s)
fuzz:
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -c6-); do \
	    $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-20s} ./$$p || exit 1; done; done

# doc: remove what was built
clean:
	rm -rf bin .cache
