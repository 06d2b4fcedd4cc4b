-- Health of a GenerationJob, Model or RunnerPool for Argo CD. All three follow the same
-- rules, those of kstatus: Stalled is the end without success, Reconciling says that work
-- goes on, and a status of another generation says nothing of this one. Beyond kstatus it
-- tells what is suspended from what is done.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the manager has still to look at this generation"}
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.status == "True" or condition.type == "Ready" then
    conditions[condition.type] = condition
  end
end

local function health(name, condition)
  return {status = name, message = condition.reason .. ": " .. (condition.message or "")}
end

if conditions.Stalled then return health("Degraded", conditions.Stalled) end
if conditions.Reconciling then return health("Progressing", conditions.Reconciling) end
if conditions.Suspended then return health("Suspended", conditions.Suspended) end
if conditions.Ready == nil then return {status = "Progressing", message = "the manager has said nothing yet"} end
if conditions.Ready.status == "True" then return health("Healthy", conditions.Ready) end
return health("Progressing", conditions.Ready)
