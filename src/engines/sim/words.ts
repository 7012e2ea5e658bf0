/** What a simulated model says: three-letter words, each one token of four bytes with the space before it, and no two the same token. */
export const WORDS: readonly string[] = (
  'ace act add age ago aid aim air ale all and ant any ape apt arc are ark arm art ash ask ate awe axe bad bag ban bar bat bay bed bee beg ' +
  'bet big bin bit bow box boy bud bug bun bus but buy cab can cap car cat cob cod cog cow cry cub cup cut dam day den dew dig dim dip dog ' +
  'dot dry due dug dye ear eat ebb eel egg ego elf elk elm end era eve eye fan far fat fed fee few fig fin fir fit fix flu fly foe fog for ' +
  'fox fun fur gap gas gem get gig got gum gut guy gym had ham has hat hay hen her hid him hip his hit hog hop hot how hub hue hug hum hut ' +
  'ice icy ink inn ion its ivy jam jar jaw jay jet job jog joy jug key kid kin kit lab lad lap law lay led leg let lid lie lip lit log lot ' +
  'low mad man mat may men met mid mix mob mop mud mug nap net new not now nut oak oar oat odd off oil old one opt orb ore our out ' +
  'owl own pad pan pat paw pay pea peg pen pet pie pig pin pit pod pot pro pub put rag ram ran rat raw ray red rib rid rig rim rip rob'
).split(' ');
