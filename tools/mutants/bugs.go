package main

import "github.com/sandbar-io/sandbar/tools/internal/overlay"

// bug is one that is put into the product, and what must catch it.
type bug struct {
	name    string
	what    string
	changes []overlay.Change
	caught  []catch
}

// catch is a run of tests of one package of which each must fail.
type catch struct {
	module string
	pkg    string // from the module, "." for its root
	layer  string // a key of grounds
	tests  []string
	broken []string // promises of random faults, of which one must be found broken
}

func change(file, from, to string) []overlay.Change {
	return []overlay.Change{{File: file, Old: from, New: to}}
}

func unit(module, pkg string, tests ...string) catch {
	return catch{module: module, pkg: pkg, layer: "unit", tests: tests}
}

func onAPIServer(module, pkg string, tests ...string) catch {
	return catch{module: module, pkg: pkg, layer: "apiserver", tests: tests}
}

// byChance is a bug that three minutes of random faults find, by a promise that is
// broken then, as tools/robustness names it.
func byChance(broken ...string) catch {
	return catch{module: "tools", pkg: "robustness", layer: "random", tests: []string{"TestRandomFaults"}, broken: broken}
}

// Promises.
const (
	answered  = "what meets no fault is answered"
	exists    = "what was acknowledged exists until it is stopped"
	visible   = "an acknowledged change is visible"
	neverBack = "a view never goes back"
	oneID     = "one sandbox per session"
	asStarted = "a sandbox runs what it was started with"
	nothing   = "nothing remains of what was stopped"
	once      = "every event once and in order"
	ends      = "what was started ends ready, failed with a reason, or stopped"
)

// Modules.
const (
	shared      = "pkg"
	gateway     = "services/gateway"
	provisioner = "services/provisioner"
	watcher     = "services/watcher"
	router      = "services/router"
)

// bugs is the table: first what a provisioner can do wrong, then what a watcher
// and what a reader can.
var bugs = append(append(provisionerBugs, watcherBugs...), readerBugs...)

var provisionerBugs = []bug{
	{
		"ack-before-write", "a command is acknowledged before anything is written",
		change("services/provisioner/internal/bus/bus.go",
			"	out, err := b.runner.Run(ctx, c, meta.Sequence.Stream)\n",
			"	_ = m.DoubleAck(ctx)\n	out, err := b.runner.Run(ctx, c, meta.Sequence.Stream)\n"),
		[]catch{unit(provisioner, "internal/bus", "TestTheAckComesLast")},
	},
	{
		"no-redelivery", "the queue hands a command out once",
		change("pkg/natsx/streams.go", "MaxDeliver: -1,", "MaxDeliver: 1,"),
		[]catch{unit(provisioner, "internal/bus", "TestAnotherFinishes", "TestRetriesThenDeadLetter")},
	},
	{
		"no-fence", "a command that a later one has overtaken is carried out",
		change("pkg/sandbox/decide.go", "f.Sequence <= r.Fence && !f.Omit.Has(OmitFence)", "f.Sequence < r.Fence/2"),
		[]catch{
			unit(shared, "sandbox", "TestDecide", "TestDecideOverAnyHistory"),
			unit(provisioner, "internal/command", "TestOvertaken"),
			onAPIServer(provisioner, "internal/interleave", "TestProtocolHolds"),
		},
	},
	{
		"record-without-cas", "a record is written over whatever stands there",
		change("pkg/kube/record.go",
			`"uid": prev.UID, "resourceVersion": prev.ResourceVersion, "labels"`, `"uid": prev.UID, "labels"`),
		[]catch{
			unit(shared, "kube", "TestUpdateIsBoundToWhatWasRead"),
			onAPIServer(provisioner, "internal/cluster", "TestSwap", "TestSwapsAtOnce"),
			byChance(oneID, once),
		},
	},
	{
		"view-without-cas", "a view is written over whatever stands there",
		change("pkg/views/store.go", "now, err := kv.Update(ctx, key, body, rev)", "now, err := kv.Put(ctx, key, body)"),
		[]catch{unit(shared, "views", "TestPutConcurrently"), byChance(once)},
	},
	{
		"known-is-believed", "what was known of a key is taken for what stands there, though nothing was written to prove it",
		change("pkg/views/store.go", "				if known {\n					continue", "				if known && p.Revision == 0 {\n					continue"),
		[]catch{unit(shared, "views", "TestPutOverWhatIsKnown")},
	},
	{
		"view-without-generation", "a view is written without a look at the generation that stands there",
		change("pkg/views/store.go",
			"			c := sandbox.Newer(&next, p.View)\n			if c < 0 || sandbox.SameForReaders", "			if sandbox.SameForReaders"),
		[]catch{
			unit(shared, "views", "TestPutKeepsTheNewest"),
			unit(watcher, "internal/observer", "TestAnOlderLookChangesNothing"),
		},
	},
	{
		"resume-from-defaults", "a resume runs a default spec, not the recorded one",
		change("pkg/sandbox/decide.go",
			"	n.Desired = Running\n	n.Begun", "	n.Desired, n.Spec = Running, Spec{Image: \"default\", ResourceFactor: 1}\n	n.Begun"),
		[]catch{unit(provisioner, "internal/command", "TestPodHasTheRecordedSpec"), byChance(asStarted)},
	},
	{
		"record-name-not-deterministic", "the record's name is not a function of tenant and session alone",
		change("pkg/sandbox/id.go",
			`return "sandbox-" + hashOf(tenant, sessionID)`, `return "sandbox-" + hashOf(tenant, sessionID+NewKey())`),
		[]catch{unit(shared, "sandbox", "TestRecordNameIsStable"), byChance(answered)},
	},
	{
		"pod-name-not-deterministic", "each attempt makes a pod of another name",
		change("services/provisioner/internal/cluster/create.go",
			"	api := c.client.CoreV1().Pods(c.ns)\n", "	api := c.client.CoreV1().Pods(c.ns)\n	pod.Name += \"-\" + sandbox.NewRuntimeID()\n"),
		[]catch{onAPIServer(provisioner, "internal/cluster", "TestCreateTwice"), byChance(nothing, ends)},
	},
	{
		"stale-read", "what is decided is decided on a record out of the API server's cache",
		change("services/provisioner/internal/cluster/cluster.go",
			"Secrets(c.ns).Get(ctx, name, metav1.GetOptions{})", `Secrets(c.ns).Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})`),
		[]catch{unit(provisioner, "internal/cluster", "TestReadsAreLive")},
	},
	{
		"stale-direct-get", "a view may be read from a replica that is behind",
		change("pkg/natsx/streams.go", "AllowDirect: false,", "AllowDirect: true,"),
		[]catch{unit(shared, "natsx", "TestStreamsHaveTheirForm")},
	},
	{
		"reply-before-view", "a command is answered before its view is in the bucket",
		change("services/provisioner/internal/command/command.go",
			"			if present, err = r.show(ctx, rec, seen, made); err == nil {\n",
			`			v, _ := sandbox.Observe(rec, seen.pod, nil, seen.order, r.Policy, r.Now())
			present = views.Present{View: &v, Revision: 1}
			go func() { _, _ = r.show(context.WithoutCancel(ctx), rec, seen, made) }()
			if err == nil {
`),
		[]catch{unit(provisioner, "internal/command", "TestViewsSayMoved"), byChance(neverBack, visible)},
	},
	{
		"converge-without-generation", "converge deletes what a newer generation made",
		change("services/provisioner/internal/command/converge.go",
			"return recordUID == rec.UID && generation <= rec.Generation", "return recordUID == rec.UID"),
		[]catch{
			unit(provisioner, "internal/command", "TestCleanLeavesOthersAlone"),
		},
	},
	{
		"sandboxes-before-forgotten", "what an earlier sandbox of the session has left is not looked for",
		change("pkg/sandbox/record.go", `return r.Original != "" && r.Original == r.RuntimeID`, "return r.RuntimeID != \"\""),
		[]catch{unit(shared, "sandbox", "TestOneSandbox"), unit(provisioner, "internal/command", "TestWhatWasLeftGoes")},
	},
	{
		"pods-before-forgotten", "of the pods only the newest is looked for",
		change("services/provisioner/internal/command/look.go", "for incarnation := int64(1);", "for incarnation := last;"),
		[]catch{unit(provisioner, "internal/command", "TestWhatWasLeftGoes")},
	},
	{
		"later-pause-hidden", "of a sandbox that is paused its pod says which view is newer",
		change("pkg/sandbox/observe.go", "	case r.Desired != Running:\n		v.Order", "	case r.Desired == Stopped:\n		v.Order"),
		[]catch{unit(provisioner, "internal/command", "TestTheLaterOfTwoPausesIsShown")},
	},
	{
		"believed-for-ever", "a process that stood still makes the pod that its record wanted before",
		change("services/provisioner/internal/cluster/cluster.go", "if !aged(r.AsOf) {", "if !aged(r.AsOf) || r.UID != \"\" {"),
		[]catch{onAPIServer(provisioner, "internal/cluster", "TestAPodIsMadeOfWhatStands")},
	},
	{
		"objects-without-generation", "what is made carries no generation",
		change("pkg/kube/names.go", "		LabelGeneration:  strconv.FormatInt(r.Generation, 10),\n", ""),
		[]catch{unit(shared, "kube", "TestObjectLabels")},
	},
	{
		"delete-without-uid", "whatever has the name now is deleted",
		change("services/provisioner/internal/cluster/cluster.go",
			"metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background}",
			"metav1.DeleteOptions{PropagationPolicy: &background}\n	_ = uid"),
		[]catch{onAPIServer(provisioner, "internal/cluster", "TestDeleteByUID")},
	},
	{
		"purge-without-generation", "a purge fits any stop of the session",
		change("pkg/sandbox/decide.go", "if f.Omit.Has(OmitPurgeBound) {", "if c.RecordUID != \"-\" {"),
		[]catch{unit(shared, "sandbox", "TestDecide"), unit(provisioner, "internal/command", "TestBoundCommands")},
	},
	{
		"place-not-given-back", "what a paused or stopped sandbox held of its key's limits stays taken",
		change("services/provisioner/internal/command/place.go",
			"if rec == nil || rec.Holder == \"\" || rec.Desired == sandbox.Running {", "if rec != nil || rec == nil {"),
		[]catch{unit(provisioner, "internal/command", "TestPlaces", "TestPurgeGivesThePlaceBack")},
	},
	{
		"unknown-members-dropped", "a write drops what a newer version wrote into a record",
		change("pkg/kube/record.go", "}, r.Unknown)", "}, nil)"),
		[]catch{unit(shared, "kube", "TestUnknownMembersSurvive")},
	},
	{
		"unknown-spec-dropped", "a write drops what a newer version wrote into a spec or a route",
		change("pkg/sandbox/unknown.go", "if err != nil || len(u) == 0 {", "if err != nil || len(u) >= 0 {"),
		[]catch{unit(shared, "kube", "TestUnknownMembersInsideSurvive")},
	},
}
