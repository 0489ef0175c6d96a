package main

var watcherBugs = []bug{
	{
		"event-before-write", "an event is published before the view that tells it is written",
		change("services/watcher/internal/observer/look.go",
			"			again = at\n			return keep(prev, v, known)\n",
			`			again = at
			told := keep(prev, v, known)
			sandbox.Advance(prev, &told, sandbox.Restored{}, now)
			_ = o.events.Publish(ctx, &told)
			return keep(prev, v, known)
`),
		[]catch{unit(watcher, "internal/observer", "TestNoEventWithoutItsView"), byChance(once)},
	},
	{
		"event-without-position", "an event is published whatever the last one was",
		change("services/watcher/internal/events/publisher.go",
			`jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(contract.EventStream),
		jetstream.WithExpectLastSequenceForSubject(at.sequence, contract.EventsOf(v.Tenant, t.RuntimeID)))`,
			"jetstream.WithExpectStream(contract.EventStream))"),
		[]catch{unit(watcher, "internal/events", "TestTwoPublishersAtOnce", "TestAnOldLeaderPastTheWindow"), byChance(once)},
	},
	{
		"pod-goes-unnoticed", "nobody is told of a pod that goes; the comparison every 60 s mends it",
		change("services/watcher/internal/podwatch/watch.go",
			"	rs, _ := w.records.store.of(p.Record)\n",
			"	rs, _ := w.records.store.of(p.Record)\n	pods, _ := w.pods.store.of(p.Record)\n	here := false\n	for _, q := range pods {\n		here = here || !q.Terminating\n	}\n	if !here {\n		return\n	}\n"),
		[]catch{onAPIServer(watcher, ".", "TestAPodThatGoesIsAskedForAtOnce")},
	},
	{
		"drift-not-looked-at-again", "drift that must last is looked at again with the next comparison only",
		change("services/watcher/internal/observer/command.go",
			"	if now.Before(at) {\n		return at, nil\n	}\n	if err := o.commands.Send(ctx, c, now); err != nil {\n		return time.Time{}, err\n	}\n	if ending",
			"	if now.Before(at) {\n		return time.Time{}, nil\n	}\n	if err := o.commands.Send(ctx, c, now); err != nil {\n		return time.Time{}, err\n	}\n	if ending"),
		[]catch{
			unit(watcher, "internal/observer", "TestALookAgainIsAskedForWhenDriftMustLast"),
			onAPIServer(watcher, ".", "TestAPodThatGoesIsAskedForAtOnce"),
		},
	},
	{
		"complete-too-early", "the heartbeat says complete before a pass over fresh lists",
		change("services/watcher/internal/bucket/session.go",
			"	for {\n		start := time.Now()\n", "	s.complete.Store(true)\n	for {\n		start := time.Now()\n"),
		[]catch{unit(watcher, "internal/bucket", "TestCompleteOnlyAfterAPassOverFreshLists", "TestAWipeBeginsAnew")},
	},
	{
		"complete-without-lists", "the full pass goes over what the watch happens to show",
		change("services/watcher/internal/bucket/session.go",
			"err = g.Records.Refresh(ctx)\n", "err = ctx.Err()\n"),
		[]catch{unit(watcher, "internal/bucket", "TestCompleteOnlyAfterAPassOverFreshLists")},
	},
	{
		"goes-on-however-long-away", "who follows a bucket goes on where it was, though markers of what was deleted meanwhile may be gone",
		change("pkg/natsx/follow.go", "> max(longAway, 2*f.CheckEvery):", "> max(1000*longAway, 2*f.CheckEvery):"),
		[]catch{unit(shared, "natsx", "TestAFollowerLooksWhenNATSIsBack"), unit(shared, "views", "TestAMarkerExpiresWhileAFollowerIsAway")},
	},
	{
		"key-removed-unasked", "the key of a record that the watch has lost is removed without a look at the API server",
		change("services/watcher/internal/observer/remove.go",
			"if exists && (live == nil || live.Tenant == tenant) {", "if exists && live == nil {"),
		[]catch{unit(watcher, "internal/observer", "TestTheKeyOfALiveRecordIsNeverRemoved")},
	},
	{
		"key-for-a-dead-record", "an absent key is made from whatever copy of the record is at hand",
		change("services/watcher/internal/observer/look.go",
			"return err == nil && live != nil && live.UID == r.UID && live.Generation == r.Generation, err",
			"return err == nil && (live == nil || live != nil), err"),
		[]catch{unit(watcher, "internal/observer", "TestAKeyIsNotMadeForARecordThatMoved", "TestAPauseWhoseRecordComesLate")},
	},
	{
		"sequences-begin-at-one", "a stream that is made anew counts from one",
		change("pkg/natsx/streams.go", "return uint64(time.Now().UnixMicro())", "return uint64(time.Now().UnixMicro()) % 2"),
		[]catch{unit(shared, "natsx", "TestSequencesRiseOverAWipe")},
	},
}

var readerBugs = []bug{
	{
		"404-without-read-index", "a gateway says 404 of what its memory lacks",
		change("services/gateway/internal/httpapi/read.go",
			"	v := look()\n	if v == nil {\n		if err := a.Views.ReadIndex(ctx); err != nil {\n			return nil, err\n		}\n		if",
			"	v := look()\n	if v == nil {\n		if"),
		[]catch{unit(gateway, "internal/httpapi", "TestExistence"), byChance(exists)},
	},
	{
		"incomplete-taken-for-complete", "a gateway takes a bucket that was just made for all there is",
		change("pkg/views/follow.go",
			"complete := s.beat.Complete && s.beat.Created.Equal(s.created)", "complete := true"),
		[]catch{unit(shared, "views", "TestFollowerOfAnIncompleteBucket", "TestFollowerOfABucketMadeAnew"), byChance(exists)},
	},
	{
		"memory-goes-back", "a gateway shows what came last, not what is newest",
		change("pkg/views/memory.go", "c < 0 || c == 0 && s.Revision < old.Revision {", "c < 0 && s.Revision == 0 {"),
		[]catch{unit(shared, "views", "TestMemoryTakesTheNewest", "TestMemoryAgainstTheModel"), byChance(visible)},
	},
	{
		"answer-not-merged", "a gateway answers and does not show it yet",
		change("services/gateway/internal/command/answer.go",
			"if s.views.Memory().Merge(v, r.Revision) {", "if r.Revision > 0 {"),
		[]catch{unit(gateway, "internal/command", "TestDoIsAnswered")},
	},
	{
		"silence-means-undone", "no reply in time is told as “nothing was done”",
		change("services/gateway/internal/command/command.go",
			`return sandbox.Wrap(err, sandbox.CodeTimeout,`, `return sandbox.Wrap(err, sandbox.CodeUnavailable,`),
		[]catch{unit(gateway, "internal/command", "TestDoWithoutReply")},
	},
	{
		"attempts-without-an-id", "a command whose acknowledgement was lost is stored twice",
		change("services/gateway/internal/command/command.go", "	m.Header.Set(nats.MsgIdHdr, c.ID)\n", ""),
		[]catch{unit(gateway, "internal/command", "TestAcknowledgementLost")},
	},
	{
		"flood-fills-kubernetes", "as many commands go as are allowed, however slow Kubernetes gets by them",
		change("services/gateway/internal/admission/admission.go", "	case !g.paced:\n", "	case g.pace == nil || g.pace != nil:\n"),
		[]catch{unit(gateway, "internal/admission", "TestFloodWhereKubernetesIsTheLimit", "TestATenantAloneIsNotHeldBack")},
	},
	{
		"gateways-do-not-share", "each gateway has as many places for floods as Kubernetes has for all",
		change("services/gateway/internal/admission/peers.go", "	free := g.pace.places() - p.floods - p.runs()\n", "	free := g.pace.places() - p.floods\n"),
		[]catch{unit(gateway, "internal/admission", "TestGatewaysTakeTurns")},
	},
	{
		"each-gateway-its-number", "each gateway finds out for itself how many places there are",
		change("services/gateway/internal/admission/peers.go", "	if pace.follows = places > 0; pace.follows {", "	if pace.follows = places < 0; pace.follows {"),
		[]catch{unit(gateway, "internal/admission", "TestOneFindsOutForAll")},
	},
	{
		"first-does-not-go-on", "the gateway that finds out how many places there are follows another as soon as its command ends",
		change("services/gateway/internal/admission/peers.go", "p.places(pace.knows() && p.told.Places > 0)", "p.places(pace.knows() && (p.waits || p.floods > 0))"),
		[]catch{unit(gateway, "internal/admission", "TestTheFirstGoesOn")},
	},
	{
		"others-tenants-unheard", "a flood goes on as if alone though another gateway has another tenant",
		change("services/gateway/internal/admission/peers.go", "	g.called(told.Tenant)\n", ""),
		[]catch{unit(gateway, "internal/admission", "TestATenantOfAnotherGateway")},
	},
	{
		"gone-gateway-believed", "what a gateway told holds the others for ever, though it is gone",
		change("services/gateway/internal/admission/peers.go", "time.Since(p.at) < believed }", "!p.at.IsZero() }"),
		[]catch{unit(gateway, "internal/admission", "TestNoGatewayHoldsTheOthers")},
	},
	{
		"others-hold-for-ever", "what other gateways tell can hold a gateway's floods for as long as they like",
		change("services/gateway/internal/admission/peers.go", "	case time.Since(p.mine) >= kept:\n", "	case time.Since(p.mine) >= 1000*kept:\n"),
		[]catch{unit(gateway, "internal/admission", "TestNoGatewayHoldsTheOthers")},
	},
	{
		"burst-is-held", "what a gateway lets wait for the pace waits until it is refused, though it is a burst",
		change("services/gateway/internal/admission/admission.go", "	return overdue && t.late.bursts() ||", "	return"),
		[]catch{unit(gateway, "internal/admission", "TestABurstGoesThrough")},
	},
	{
		"few-are-held", "a few commands that each take long are refused, as a flood is",
		change("services/gateway/internal/admission/admission.go", "t.queue.Len() <= few && ", "t.queue.Len() < 0 && "),
		[]catch{unit(gateway, "internal/admission", "TestFewAreNotRefused")},
	},
	{
		"burst-never-ends", "a flood is taken for a burst for as long as it lasts",
		change("services/gateway/internal/admission/late.go", "return l.lasts() > 0 && time.Since(l.first) < burst }", "return l.lasts() > 0 }"),
		[]catch{unit(gateway, "internal/admission", "TestFloodWhereKubernetesIsTheLimit", "TestAFloodIsKnownToWhoComes")},
	},
	{
		"fresh-is-believed", "a start whose gateway knows of no sandbox is refused where there is one",
		change("services/provisioner/internal/command/command.go", "		if guess && err == nil && out.Err != nil && !claim.wrote {", "		if false {"),
		[]catch{unit(provisioner, "internal/command", "TestAFreshSessionThatIsThere")},
	},
	{
		"another-tenants-runtime", "a runtime id opens another tenant's sandbox",
		change("services/gateway/internal/httpapi/read.go", "if v == nil || v.Tenant != c.key.Tenant {", "if v == nil {"),
		[]catch{unit(gateway, "internal/httpapi", "TestExistence")},
	},
	{
		"session-key-unsealed", "a view carries the session key as it is",
		change("pkg/sandbox/view.go", "SessionKey string `json:\"-\"`", "SessionKey string `json:\"session_key\"`"),
		[]catch{unit(shared, "contract", "TestViewsHideTheKey", "TestGolden")},
	},
	{
		"tenants-key-passed-on", "the router hands the tenant's API key to the sandbox",
		change("services/router/internal/proxy/request.go", "	pr.Out.Header.Del(tenantKeyHeader)\n", ""),
		[]catch{unit(router, "internal/proxy", "TestTheTenantsKeyStaysHere")},
	},
	{
		"stop-without-drain", "a service that is told to stop closes its connections at once",
		change("pkg/run/run.go", "		d.drain(ctx)\n		if srv.Shutdown(ctx) != nil {", "		if ctx.Err() == nil {"),
		[]catch{unit(shared, "run", "TestServeDrains", "TestServeLingers")},
	},
	{
		"connections-not-given-up", "a service that is about to stop lets clients keep their connections, and closes them under a request",
		change("pkg/run/drain.go", "		w.Header().Set(\"Connection\", \"close\") // over HTTP/2: no new streams\n", ""),
		[]catch{unit(shared, "run", "TestServeGivesConnectionsUp", "TestServeLingers")},
	},
	{
		"closed-after-the-answer", "a service that stops closes each connection as soon as its answer is out",
		change("pkg/run/drain.go", "	for !d.drained() {\n", "	for d.drained() && false {\n"),
		[]catch{unit(shared, "run", "TestServeLingers")},
	},
}
