package mirrormaker

import "strings"

// Verdict says what became of a setting.
type Verdict int

// The verdicts, from the harmless to what needs a person.
const (
	Carried    Verdict = iota // stands in the new configuration, or Hubferry does so anyway
	Needless                  // about how MirrorMaker works inside: nothing is lost without it
	Differs                   // carried, but not just the same
	Todo                      // carried, when a person has done something
	NotCarried                // Hubferry does not do this
	Unknown                   // no setting of MirrorMaker that this program knows
)

// String returns the word that a report begins with.
func (v Verdict) String() string {
	return [...]string{"carried", "not needed", "differs", "to do", "not carried", "unknown"}[v]
}

// rule is what becomes of a key. An empty text means that Translate itself says it, from
// the value.
type rule struct {
	verdict Verdict
	text    string
}

// Reasons that several keys share.
const (
	whyWorker   = "there is no Connect worker: the program runs by itself"
	whyREST     = "there is no Connect REST interface; hubferry run is started and stopped as a process"
	whyInternal = "MirrorMaker's own topic: progress is kept in the consumer group or in the checkpoint store; delete the topic when you are sure not to go back"
	whyFetch    = "fetches are sized by the memory budget (memory:)"
	whyBatch    = "a batch is what gathered while the one before was under way"
	whyIdempot  = "the producer is always idempotent, waits for all in-sync replicas and keeps order"
	whyRetry    = "errors are retried until they are gone (retry: of a task)"
	whyClient   = "the client chooses this itself"
	whyGroup    = "the client's group membership has its own timing"
	whyMetrics  = "metrics are not those of Java"
	whyConvert  = "records are moved as bytes: no converter is between"
	whyBytes    = "records are moved as bytes: nothing is serialized anew"
	whyKerberos = "Kerberos is not supported: give Hubferry a SCRAM or PLAIN user, or a client certificate"
	whyOAuth    = "how tokens are checked and renewed is not configured; what is asked for them is"
	whyLogin    = "login classes are Java code"
	whyCipher   = "TLS 1.2 and 1.3 with Go's choice of ciphers"
	whyStoreFmt = "said with the store's location"
	whyFilter   = "the filter is Java code: name the topics in the tasks' source"
	whyOffsets  = "positions of the applications' consumer groups are not translated: start them on the target by time, minus some minutes (kafka-consumer-groups --reset-offsets --to-datetime)"
	whyConnSMT  = "single message transforms are Java code; what editors can do stands in docs/configuration.md"
)

// keys holds every key of MirrorMaker 2 by its name without a cluster's or a flow's
// prefix and without "consumer.", "producer." or "admin.". A key that ends with "*" is
// a family.
var keys = map[string]rule{
	// What replicates what: carried by Translate, with the value in the text.
	"clusters":                     {Carried, ""},
	"bootstrap.servers":            {Carried, ""},
	"enabled":                      {Carried, ""},
	"topics":                       {Carried, ""},
	"topics.exclude":               {Carried, ""},
	"topics.blacklist":             {Carried, ""},
	"replication.policy.class":     {Carried, ""},
	"replication.policy.separator": {Carried, ""},
	"name":                         {Carried, ""},
	"connector.class":              {Carried, ""},
	"source.cluster.alias":         {Carried, ""},
	"target.cluster.alias":         {Carried, ""},
	"replication.factor":           {Carried, ""},
	"sync.topic.configs.enabled":   {Carried, ""},
	"errors.tolerance":             {Carried, ""},
	"exactly.once.source.support":  {Carried, ""},
	"exactly.once.support":         {Needless, "said with exactly.once.source.support"},
	"auto.offset.reset":            {Carried, ""},
	"isolation.level":              {Carried, ""},
	"compression.type":             {Carried, ""},
	"max.request.size":             {Needless, "batches are as large as the topic takes (max.message.bytes)"},
	"transforms":                   {Carried, ""},

	// How clusters are reached.
	"security.protocol":                     {Carried, ""},
	"sasl.mechanism":                        {Carried, ""},
	"sasl.jaas.config":                      {Carried, ""},
	"ssl.truststore.location":               {Carried, ""},
	"ssl.truststore.certificates":           {Carried, ""},
	"ssl.truststore.type":                   {Needless, whyStoreFmt},
	"ssl.truststore.password":               {Needless, whyStoreFmt},
	"ssl.keystore.location":                 {Carried, ""},
	"ssl.keystore.certificate.chain":        {Carried, ""},
	"ssl.keystore.key":                      {Carried, ""},
	"ssl.keystore.type":                     {Needless, whyStoreFmt},
	"ssl.keystore.password":                 {Needless, whyStoreFmt},
	"ssl.key.password":                      {Needless, whyStoreFmt},
	"ssl.endpoint.identification.algorithm": {Carried, ""},
	"ssl.enabled.protocols":                 {Needless, whyCipher},
	"ssl.protocol":                          {Needless, whyCipher},
	"ssl.cipher.suites":                     {Differs, whyCipher},
	"ssl.client.auth":                       {Needless, whyREST},
	"ssl.keymanager.algorithm":              {Needless, whyClient},
	"ssl.trustmanager.algorithm":            {Needless, whyClient},
	"ssl.secure.random.implementation":      {Needless, whyClient},
	"ssl.provider":                          {NotCarried, "security providers are Java code"},
	"ssl.engine.factory.class":              {NotCarried, "the engine factory is Java code: give Hubferry certificates as PEM files (tls: of a connection)"},
	"security.providers":                    {NotCarried, "security providers are Java code"},
	"sasl.client.callback.handler.class":    {NotCarried, whyLogin},
	"sasl.login.callback.handler.class":     {NotCarried, whyLogin},
	"sasl.login.class":                      {NotCarried, whyLogin},
	"sasl.login.*":                          {Needless, whyClient},
	"sasl.kerberos.*":                       {NotCarried, whyKerberos},
	"sasl.oauthbearer.token.endpoint.url":   {Carried, ""},
	"sasl.oauthbearer.*":                    {Needless, whyOAuth},
	"client.id":                             {Differs, "Hubferry's client id is hubferry-INSTANCE: quotas and access rules by client id need that name"},
	"client.rack":                           {Carried, ""},
	"config.providers":                      {Carried, ""},
	"config.providers.*":                    {Carried, ""},

	// What else MirrorMaker does.
	"emit.heartbeats.enabled":                             {NotCarried, "no heartbeats topic is written: lag and time stand in hubferry run and in its metrics"},
	"emit.heartbeats.interval.seconds":                    {Needless, "no heartbeats topic is written"},
	"heartbeats.topic.replication.factor":                 {Needless, "no heartbeats topic is written"},
	"emit.checkpoints.enabled":                            {NotCarried, whyOffsets},
	"emit.checkpoints.interval.seconds":                   {Needless, "no checkpoints topic is written"},
	"checkpoints.topic.replication.factor":                {Needless, "no checkpoints topic is written"},
	"sync.group.offsets.enabled":                          {NotCarried, whyOffsets},
	"sync.group.offsets.interval.seconds":                 {Needless, "no group offsets are written"},
	"groups":                                              {NotCarried, whyOffsets},
	"groups.exclude":                                      {Needless, whyOffsets},
	"groups.blacklist":                                    {Needless, whyOffsets},
	"group.filter.class":                                  {Needless, whyOffsets},
	"refresh.groups.enabled":                              {Needless, "groups are not translated"},
	"refresh.groups.interval.seconds":                     {Needless, "groups are not translated"},
	"emit.offset-syncs.enabled":                           {Needless, "each record tells its source position itself (repl-sequence)"},
	"offset-syncs.topic.location":                         {Needless, whyInternal},
	"offset-syncs.topic.replication.factor":               {Needless, whyInternal},
	"offset.lag.max":                                      {Needless, "each record tells its source position itself (repl-sequence)"},
	"sync.topic.acls.enabled":                             {NotCarried, "access rules are not copied: copy them once with kafka-acls --list and --add, and make them part of how topics are set up"},
	"sync.topic.acls.interval.seconds":                    {Needless, "access rules are not copied"},
	"sync.topic.configs.interval.seconds":                 {Carried, ""},
	"config.properties.exclude":                           {Differs, "name the settings that are not to be as in the source under topicConfig of the target"},
	"config.properties.blacklist":                         {Differs, "name the settings that are not to be as in the source under topicConfig of the target"},
	"config.property.filter.class":                        {NotCarried, "the filter is Java code"},
	"use.incremental.alter.configs":                       {Needless, "the incremental request is always used"},
	"refresh.topics.enabled":                              {Differs, "new topics that match a pattern are always found, within seconds"},
	"refresh.topics.interval.seconds":                     {Needless, "new topics that match a pattern are found within seconds"},
	"topic.filter.class":                                  {NotCarried, whyFilter},
	"replication.policy.internal.topic.separator.enabled": {Needless, whyInternal},
	"forwarding.admin.class":                              {NotCarried, "the admin client is Java code: topics are made with the user of the connection"},
	"add.source.alias.to.metrics":                         {Needless, whyMetrics},
	"admin.timeout.ms":                                    {Needless, whyClient},
	"tasks.max":                                           {Needless, "each source partition is moved by itself; further processes with the same configuration share them"},
	"tasks.max.enforce":                                   {Needless, whyWorker},
	"dedicated.mode.enable.internal.rest":                 {Needless, "processes share partitions without talking to each other"},
	"topic.creation.*":                                    {NotCarried, "settings of new topics: make the topics on the target before, as they should be"},
	"transforms.*":                                        {Needless, "said with transforms"},
	"predicates":                                          {Needless, "said with transforms"},
	"predicates.*":                                        {Needless, "said with transforms"},
	"errors.*":                                            {Needless, "what an event can do wrong is told in the log and counted (onError: of a task)"},
	"header.converter":                                    {Needless, whyConvert},
	"header.converter.*":                                  {Needless, whyConvert},
	"key.converter":                                       {Needless, whyConvert},
	"key.converter.*":                                     {Needless, whyConvert},
	"value.converter":                                     {Needless, whyConvert},
	"value.converter.*":                                   {Needless, whyConvert},
	"config.action.reload":                                {Needless, whyWorker},
	"offsets.storage.topic":                               {Needless, whyInternal},
	"transaction.boundary":                                {Needless, "Hubferry chooses the size of transactions"},
	"transaction.boundary.*":                              {Needless, "Hubferry chooses the size of transactions"},

	// The Connect worker.
	"offset.storage.*":                        {Needless, whyInternal},
	"config.storage.*":                        {Needless, whyInternal},
	"status.storage.*":                        {Needless, whyInternal},
	"offset.flush.interval.ms":                {Differs, "progress is stored after 1,000 events or 5 s (checkpointEvery: of a task)"},
	"offset.flush.timeout.ms":                 {Needless, whyWorker},
	"group.id":                                {Differs, "each task has a consumer group of its own on the source cluster: give its user the right to it"},
	"plugin.path":                             {Needless, whyWorker},
	"plugin.discovery":                        {Needless, whyWorker},
	"connect.protocol":                        {Needless, whyWorker},
	"connector.client.config.override.policy": {Needless, whyWorker},
	"inter.worker.*":                          {Needless, whyWorker},
	"rebalance.timeout.ms":                    {Needless, whyGroup},
	"scheduled.rebalance.max.delay.ms":        {Needless, whyGroup},
	"session.timeout.ms":                      {Needless, whyGroup},
	"heartbeat.interval.ms":                   {Needless, whyGroup},
	"task.shutdown.graceful.timeout.ms":       {Needless, "drain: says how long a stop may take"},
	"topic.tracking.*":                        {Needless, whyWorker},
	"worker.*":                                {Needless, whyWorker},
	"listeners":                               {Needless, whyREST},
	"listeners.*":                             {Needless, whyREST},
	"admin.listeners":                         {Needless, whyREST},
	"admin.listeners.*":                       {Needless, whyREST},
	"rest.*":                                  {Needless, whyREST},
	"response.http.headers.config":            {Needless, whyREST},
	"access.control.allow.methods":            {Needless, whyREST},
	"access.control.allow.origin":             {Needless, whyREST},

	// Consumers.
	"fetch.*":                       {Needless, whyFetch},
	"max.partition.fetch.bytes":     {Needless, whyFetch},
	"max.poll.records":              {Needless, whyFetch},
	"max.poll.interval.ms":          {Needless, whyGroup},
	"receive.buffer.bytes":          {Needless, whyClient},
	"check.crcs":                    {Needless, "checksums are always checked"},
	"allow.auto.create.topics":      {Needless, "a source topic that is not there is an error"},
	"auto.commit.interval.ms":       {Needless, "progress is stored when the target has confirmed"},
	"enable.auto.commit":            {Needless, "progress is stored when the target has confirmed"},
	"exclude.internal.topics":       {Needless, "internal topics are excluded"},
	"group.instance.id":             {Needless, whyGroup},
	"group.protocol":                {Needless, whyGroup},
	"group.remote.assignor":         {Needless, whyGroup},
	"partition.assignment.strategy": {Needless, whyGroup},
	"key.deserializer":              {Needless, whyBytes},
	"value.deserializer":            {Needless, whyBytes},
	"internal.*":                    {Needless, whyGroup},
	"interceptor.classes":           {NotCarried, "interceptors are Java code"},
	"default.api.timeout.ms":        {Needless, whyRetry},

	// Producers.
	"acks":                                  {Needless, whyIdempot},
	"enable.idempotence":                    {Needless, whyIdempot},
	"max.in.flight.requests.per.connection": {Needless, whyIdempot},
	"retries":                               {Needless, whyRetry},
	"batch.size":                            {Needless, whyBatch},
	"linger.ms":                             {Needless, whyBatch},
	"buffer.memory":                         {Needless, "memory: bounds all buffers together"},
	"max.block.ms":                          {Needless, whyRetry},
	"delivery.timeout.ms":                   {Needless, whyRetry},
	"compression.gzip.level":                {Needless, "the default level"},
	"compression.lz4.level":                 {Needless, "the default level"},
	"compression.zstd.level":                {Needless, "the default level"},
	"partitioner.*":                         {Needless, "MirrorMaker keeps the source's partition whatever this says, and so does Hubferry where both topics have as many"},
	"key.serializer":                        {Needless, whyBytes},
	"value.serializer":                      {Needless, whyBytes},
	"transactional.id":                      {Needless, "Hubferry chooses its own"},
	"transaction.timeout.ms":                {Differs, "transactionTimeout of the target is 1m"},
	"send.buffer.bytes":                     {Needless, whyClient},

	// All clients.
	"bootstrap.controllers":     {Needless, "brokers are asked"},
	"client.dns.lookup":         {Needless, whyClient},
	"connections.max.idle.ms":   {Needless, whyClient},
	"metadata.*":                {Needless, whyClient},
	"reconnect.*":               {Needless, whyClient},
	"request.timeout.ms":        {Needless, whyRetry},
	"retry.*":                   {Needless, whyRetry},
	"socket.connection.*":       {Needless, whyClient},
	"auto.include.jmx.reporter": {Needless, whyMetrics},
	"enable.metrics.push":       {Needless, whyMetrics},
	"metric.reporters":          {Needless, whyMetrics},
	"metrics.*":                 {Needless, whyMetrics},
	"topic.creation.enable":     {Needless, whyWorker},
	"replication.policy.*":      {NotCarried, "a setting of a replication policy that is Java code: name the target topics in the tasks"},
	"consumer.poll.timeout.ms":  {Needless, whyFetch},
}

// clientPrefixes are what stands before the name of a client's setting, the longest
// first.
var clientPrefixes = []string{
	"source.consumer.", "source.producer.", "source.admin.",
	"target.consumer.", "target.producer.", "target.admin.",
	"consumer.override.", "producer.override.", "admin.override.",
	"consumer.", "producer.", "admin.",
	"source.cluster.", "target.cluster.",
}

// ruleOf finds the rule of a key without its cluster's or flow's prefix.
func ruleOf(key string) (rule, bool) {
	if r, ok := keys[key]; ok {
		return r, true
	}
	for _, p := range clientPrefixes {
		if base, ok := strings.CutPrefix(key, p); ok && base != "" {
			return ruleOf(base)
		}
	}
	for end := len(key); end > 0; {
		end = strings.LastIndexByte(key[:end], '.')
		if end < 0 {
			break
		}
		if r, ok := keys[key[:end]+".*"]; ok {
			return r, true
		}
	}
	return rule{}, false
}
