"""What a model's labels are, and where it must not or should not be used: said once, for all."""

RESPONSIBLE_USE = (
    "**The labels are posed expressions, not feelings.** The model says which of the faces "
    "that people made on request a picture resembles most. It doesn't know what anybody feels, "
    "means or will do, and it is no lie detector.",
    "**Other people, cameras, rooms and ages** than those it was trained on may give quite other "
    "numbers. Test it on your own data before you rely on anything, and look at the errors by "
    "person and by class.",
    "**Where it must not or should not be used.** In the European Union, placing on the market, "
    "putting into service or using systems that infer emotions of people at work or in education "
    "is forbidden, but for medical or safety reasons (AI Act, Regulation (EU) 2024/1689, article "
    "5(1)(f)). Elsewhere such use counts as high risk or has to be told to the people concerned "
    "(annex III; article 50). Whether a use is lawful is for you to find out; this is no legal "
    "advice. We advise against every decision about a person that rests on it: hiring, marks, "
    "insurance, policing, care.",
    "**Faces, and heat of faces, are personal data**, and temperature may tell of illness. Ask "
    "before you record, keep no more than you need.",
)
"""Shown wherever a model is shown: the card, the docs, the page that serves it."""
