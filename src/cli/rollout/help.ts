/** What `sluice rollout` says about itself. */
import { ACCESS_HELP } from './access.ts';

export const VERBS = {
  status: 'follow a roll until it is done, or say why it will not be',
  history: 'the revisions that are kept, and what changed from one to the next',
  diff: 'what a manifest would change, and what of it would restart: a dry run',
  undo: 'go back to the revision before, or to another one that is kept',
  pause: 'begin no further replacement; edits wait',
  resume: 'go on',
} as const;

export type Verb = keyof typeof VERBS;

const verbLines = Object.entries(VERBS).map(([verb, what]) => `  ${verb.padEnd(9)} ${what}`);

export const HELP = `Looks after the roll of a ServingDeployment on Kubernetes: the replacement of its instances and routers, one at a time, when its
spec changes. No accepted stream is lost by any of it.

Usage: sluice rollout <command> NAME [flags]        sluice rollout <command> --help tells more

${verbLines.join('\n')}

A revision is the spec without sizes: kubectl scale makes none, undo leaves sizes as they are. The operator keeps the last
spec.rollout.history of them, as ControllerRevisions.

A change, step by step:
  sluice rollout diff -f chat.yaml        # what would restart, and because of which field
  kubectl apply -f chat.yaml
  sluice rollout status chat              # ends when it is done; exit code 1 when it is stuck
  sluice rollout undo chat                # if it was none

On one machine, with sluice up: edit the file. spec.rollout.paused: true holds edits back, undo is your editor's, and
  sluice rollout diff -f new.yaml --from old.yaml      # says what the edit would restart
`;

export const VERB_HELP: Readonly<Record<Verb, string>> = {
  status: `Follows the roll of a deployment, a line for each change, until everything runs as wanted.

Usage: sluice rollout status NAME [--no-wait] [--timeout DURATION]

  --no-wait              say how it is now, and end
  --timeout DURATION     wait that long at most, such as 90s or 10m (default 30m)
${ACCESS_HELP}

Exit code 0: done. 1: paused, stalled (the line says why), or not done in time.

Example: kubectl apply -f chat.yaml && sluice rollout status chat --timeout 10m
`,
  history: `Lists the revisions of a deployment that are kept, the oldest first; * marks that of now.

Usage: sluice rollout history NAME

${ACCESS_HELP}

CHANGED names the fields that differ from the line before. How many are kept: spec.rollout.history, 10 unless told.
`,
  diff: `Says what a manifest would change: the fields that differ from what the cluster has, defaults filled in, and what of that would restart
and why. Nothing is changed; the API server is asked whether it would take it.

Usage: sluice rollout diff -f FILE [-f FILE …] [--from FILE]

  -f, --file FILE        manifest, YAML; may hold several ServingDeployments, and KVTiers: what becomes of those that name them is told too
  --from FILE            compare with this file instead of the cluster, as sluice up would see the edit; needs no cluster
${ACCESS_HELP}

Exit code 0: no difference. 1: there is one. 2: the manifest has a mistake, or the cluster cannot be asked.

Example: sluice rollout diff -f chat.yaml
`,
  undo: `Goes back to the revision before that of now. Sizes stay as they are. It is a change like any other: it rolls, it can be followed, and
undone.

Usage: sluice rollout undo NAME [--to-revision N] [--dry-run]

  --to-revision N        go back to this one; sluice rollout history NAME lists them
  --dry-run              say what that would change and restart, and change nothing
${ACCESS_HELP}

Example: sluice rollout undo chat --dry-run
`,
  pause: `Pauses the roll of a deployment (spec.rollout.paused: true). The replacement that has begun is ended, no other one begins. Edits of the
spec wait, except for replicas; what crashes is started as it was; scaling and draining go on. The condition Reconciling, and
sluice rollout status, name what waits.

Usage: sluice rollout pause NAME

${ACCESS_HELP}

For a look at the first new instance before the rest follow, or for several edits that roll once.
`,
  resume: `Goes on with a roll that was paused, with all edits since.

Usage: sluice rollout resume NAME

${ACCESS_HELP}
`,
};
