// Copyright The Atelier Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types that kstatus reads, on jobs and pools.
const (
	// ConditionReady is True when the object is as its spec wants it: for a job,
	// when its pictures are there; for a runner, when it takes assignments. A suspended
	// job has none: its pictures are neither there nor on their way.
	ConditionReady = "Ready"
	// ConditionReconciling is True while work goes on, and absent otherwise.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when no further work will be done, and absent otherwise.
	ConditionStalled = "Stalled"
)

// Condition types of a GenerationJob. Unknown until first decided, then never removed,
// where not stated otherwise.
const (
	// ConditionScheduled is True while the job is bound to a runner and after it
	// ran; False says what it waits for.
	ConditionScheduled = "Scheduled"
	// ConditionModelLoaded is True once the job's model is loaded on its runner.
	ConditionModelLoaded = "ModelLoaded"
	// ConditionPipelineHealthy says what the check before the generation found; on a
	// runner, how its pipeline stands now.
	ConditionPipelineHealthy = "PipelineHealthy"
	// ConditionSuccessCriteriaMet is True once the job is going to be Complete: its
	// outputs are recorded and its runner has only to confirm that it let go of the
	// job. Absent before, as in batch/v1.
	ConditionSuccessCriteriaMet = "SuccessCriteriaMet"
	// ConditionFailureTarget is True once the job is going to be Failed, in the same
	// way, with the reason it will fail for. Absent before, as in batch/v1.
	ConditionFailureTarget = "FailureTarget"
	// ConditionComplete is True when the job succeeded. Terminal.
	ConditionComplete = "Complete"
	// ConditionFailed is True when the job failed for good. Terminal.
	ConditionFailed = "Failed"
	// ConditionCancelled is True when spec.cancel ended the job. Terminal. Absent before.
	ConditionCancelled = "Cancelled"
	// ConditionSuspended is True while the job is parked, and False while its runner has
	// still to let go of it and after it was resumed. Absent before it is first asked
	// for, as in batch/v1.
	ConditionSuspended = "Suspended"
)

// ConditionLoadable on a Model says what the last runner that tried to load it found.
const ConditionLoadable = "Loadable"

// ConditionVerified on a Model is True once a runner has compared each byte with the
// digest in the Model's status. Unknown before that, and for models without a digest.
const ConditionVerified = "Verified"

// Reasons of Verified. ReasonModelVerifyFailed (False) is shared with Failed.
const (
	// ReasonNotPulled (Unknown): no runner has fetched the model yet.
	ReasonNotPulled = "NotPulled"
	// ReasonNoDigest (Unknown): a path on the models volume has no digest.
	ReasonNoDigest = "NoDigest"
	// ReasonDigestMatches (True): each byte is what the digest says.
	ReasonDigestMatches = "DigestMatches"
)

// Reasons of Scheduled.
const (
	// ReasonBound (True): a runner has the job.
	ReasonBound = "Bound"
	// ReasonModelNotFound (False): no Model has the name in spec.modelRef.
	ReasonModelNotFound = "ModelNotFound"
	// ReasonPoolNotFound (False): no RunnerPool has the name in spec.poolRef.
	ReasonPoolNotFound = "PoolNotFound"
	// ReasonPoolInvalid (False): the pool's template can't make a pod.
	ReasonPoolInvalid = "PoolInvalid"
	// ReasonPriorityClassNotFound (False): no PriorityClass has the name in
	// spec.priorityClassName.
	ReasonPriorityClassNotFound = "PriorityClassNotFound"
	// ReasonNotAllowedByPool (False): no RunnerPool of the name in spec.poolRef allows jobs
	// from the job's namespace. Whether there is one that does not, nobody is told.
	ReasonNotAllowedByPool = "NotAllowedByPool"
	// ReasonStoreNotFound (False): the pool has no store of the name in spec.output.store.
	ReasonStoreNotFound = "StoreNotFound"
	// ReasonPoolSuspended (False; Ready of a pool too): spec.suspend of the pool is true.
	ReasonPoolSuspended = "PoolSuspended"
	// ReasonWaitingForRunner (False): every runner is busy or none is ready yet.
	ReasonWaitingForRunner = "WaitingForRunner"
	// ReasonBackoff (False): an attempt failed; status.retryTime says when the next begins.
	ReasonBackoff = "Backoff"
	// ReasonReleasing (False, also of Suspended): the runner still has to confirm that it
	// let go of the job.
	ReasonReleasing = "Releasing"
	// ReasonSuspended (False; True of Suspended): spec.suspend parks the job.
	ReasonSuspended = "Suspended"
)

// ReasonResumed (False, of Suspended): spec.suspend was taken back.
const ReasonResumed = "Resumed"

// Reasons of ModelLoaded and Loadable.
const (
	// ReasonNotLoaded (Unknown): nothing has tried to load the model yet.
	ReasonNotLoaded = "NotLoaded"
	// ReasonLoading (False): a runner is loading the model.
	ReasonLoading = "Loading"
	// ReasonLoaded (True): the model is loaded.
	ReasonLoaded = "Loaded"
	// ReasonAccepted (True, Ready of a Model): jobs may use the model.
	ReasonAccepted = "Accepted"
)

// Reasons of PipelineHealthy. ReasonLoaded (True) is shared with ModelLoaded and
// ReasonModelLoadFailed (False) with Failed.
const (
	// ReasonIdle (True): nothing is loaded.
	ReasonIdle = "Idle"
	// ReasonPartiallyLoaded (False): only some parts of the pipeline are there.
	ReasonPartiallyLoaded = "PartiallyLoaded"
	// ReasonCorrupted (False): parts that do not belong together are there.
	ReasonCorrupted = "Corrupted"
	// ReasonReloaded (True): the check failed, and loading again mended it.
	ReasonReloaded = "Reloaded"
	// ReasonNotChecked (Unknown): no check was made yet.
	ReasonNotChecked = "NotChecked"
)

// Reasons for which an attempt, and in the end a job, fails. Each says whether another
// attempt could help.
const (
	// ReasonInvalidRequest (final): the model can't do what a field asks for.
	ReasonInvalidRequest = "InvalidRequest"
	// ReasonModelInvalid (final): a file of the model is missing or broken.
	ReasonModelInvalid = "ModelInvalid"
	// ReasonModelTooLarge (final): the model's weights are more than the runner can have
	// memory.
	ReasonModelTooLarge = "ModelTooLarge"
	// ReasonModelPullFailed (retryable): the model can't be had from where it is published.
	ReasonModelPullFailed = "ModelPullFailed"
	// ReasonModelVerifyFailed (final): the server gives other bytes than the digest says.
	ReasonModelVerifyFailed = "ModelVerifyFailed"
	// ReasonCacheFull (retryable): the model does not fit into the runner's cache.
	ReasonCacheFull = "CacheFull"
	// ReasonModelLoadFailed (retryable): loading failed for want of memory or the like.
	ReasonModelLoadFailed = "ModelLoadFailed"
	// ReasonGenerationFailed (retryable): a step of the generation failed.
	ReasonGenerationFailed = "GenerationFailed"
	// ReasonSaveFailed (retryable): a picture could not be written.
	ReasonSaveFailed = "SaveFailed"
	// ReasonStoreUnavailable (retryable, not counted): the store of the pictures did not
	// answer, or said that it is in trouble.
	ReasonStoreUnavailable = "StoreUnavailable"
	// ReasonPipelineUnhealthy (retryable): the pipeline stayed broken after a reload.
	ReasonPipelineUnhealthy = "PipelineUnhealthy"
	// ReasonRunnerCrashed (retryable): the runner's process ended while it had the job.
	ReasonRunnerCrashed = "RunnerCrashed"
	// ReasonRunnerOutOfMemory (retryable): the runner's container was killed for want of
	// memory while it had the job.
	ReasonRunnerOutOfMemory = "RunnerOutOfMemory"
	// ReasonRunnerLost (retryable, not counted): the runner's pod went away.
	ReasonRunnerLost = "RunnerLost"
	// ReasonCancelled (not counted): the assignment was taken away; of a job: spec.cancel
	// ended it.
	ReasonCancelled = "Cancelled"
	// ReasonBackoffLimitExceeded: the last allowed attempt failed.
	ReasonBackoffLimitExceeded = "BackoffLimitExceeded"
)

// Reasons for which a job fails because time ran out. None is tried again.
const (
	// ReasonDeadlineExceeded: activeDeadlineSeconds passed.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonQueueDeadlineExceeded: stageDeadlines.queueSeconds passed before a runner took the job.
	ReasonQueueDeadlineExceeded = "QueueDeadlineExceeded"
	// ReasonLoadDeadlineExceeded: stageDeadlines.loadSeconds passed before the model was loaded.
	ReasonLoadDeadlineExceeded = "LoadDeadlineExceeded"
	// ReasonGenerateDeadlineExceeded: stageDeadlines.generateSeconds passed before the pictures were drawn.
	ReasonGenerateDeadlineExceeded = "GenerateDeadlineExceeded"
	// ReasonSaveDeadlineExceeded: stageDeadlines.saveSeconds passed before the pictures were written.
	ReasonSaveDeadlineExceeded = "SaveDeadlineExceeded"
)

// ReasonRunnerWarning is the reason of an event that carries a warning of the runner.
const ReasonRunnerWarning = "RunnerWarning"

// Reasons of Ready, Reconciling, Stalled, Complete and Failed that are not above.
const (
	// ReasonSucceeded (True): the pictures are there.
	ReasonSucceeded = "Succeeded"
	// ReasonInProgress: work goes on.
	ReasonInProgress = "InProgress"
	// ReasonInvalidTemplate (Stalled of a pool): spec.template is not a pod template.
	ReasonInvalidTemplate = "InvalidTemplate"
	// ReasonInvalidNamespaces (Stalled of a pool): spec.allowedNamespaces has no valid selector.
	ReasonInvalidNamespaces = "InvalidNamespaces"
	// ReasonInvalidDuration (Stalled of a pool): a duration of its spec can't be read. The
	// schema refuses such ones; an object may have it from before.
	ReasonInvalidDuration = "InvalidDuration"
	// ReasonUnschedulable (Ready of a pool is False): the scheduler finds no node for a
	// runner's pod, and the message is its own.
	ReasonUnschedulable = "Unschedulable"
	// ReasonUpdating (Ready of a pool is False): runners of an old template are replaced.
	ReasonUpdating = "Updating"
	// ReasonScaled (Ready of a pool): there are as many ready runners as wanted.
	ReasonScaled = "Scaled"
	// ReasonScaling: runners are being started or removed.
	ReasonScaling = "Scaling"
	// ReasonPodsNotCreated (Ready of a pool is False): the API server refused a runner's pod.
	ReasonPodsNotCreated = "PodsNotCreated"
	// ReasonStarted (Ready of a runner): the process takes assignments.
	ReasonStarted = "Started"
	// ReasonTerminating (Ready of a runner is False): the process is about to end.
	ReasonTerminating = "Terminating"
)
