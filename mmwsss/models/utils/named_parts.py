"""Parts of a model that a config gives names."""

from mmengine.model import ModuleDict

from mmwsss.registry import MODELS


def build_parts(setting: str, parts: dict[str, dict | None] | None,
                example: str) -> ModuleDict:
    """Build parts that have names instead of positions.

    mmengine merges dicts key by key, so a config that builds on another adds
    a part, changes one number of a part or takes a part out without saying
    the others again. What a part logs is called ``NAME.TERM``.

    Args:
        setting (str): What they are, for messages: ``'regularizers'``.
        parts (dict[str, dict | None], optional): Configs by name. None and
            an empty dict, which is what ``dict(_delete_=True)`` leaves, take
            a part out.
        example (str): How one is written, for messages.

    Returns:
        ModuleDict: Modules by name, in the order of the config. mmengine's,
        whose ``init_weights`` reaches them; torch's would hide them from it.

    Raises:
        TypeError: If ``parts`` is no dict of dicts, e.g. a list.
        ValueError: If a part has no ``type``, or a name cannot be used.
    """
    form = f'Give each part a name of yours: {setting}=dict({example}).'
    if parts is None:
        parts = {}
    if not isinstance(parts, dict):
        raise TypeError(f'model.{setting} must be a dict, not a '
                        f'{type(parts).__name__}. {form}')
    parts = {
        name: part
        for name, part in parts.items() if part not in (None, {})
    }
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise TypeError(f'model.{setting}.{name} must be a dict, not '
                            f'{part!r}. {form}')
        if 'type' not in part:
            known = [n for n, p in parts.items() if 'type' in p]
            raise ValueError(
                f'model.{setting}.{name} has no type. Parts with one are '
                f'{known}; their settings are model.{setting}.NAME.SETTING.')
        # mmengine adds up whatever has 'loss' in its name.
        if (not str(name).isidentifier() or 'loss' in name
                or hasattr(ModuleDict, name) or name == 'init_cfg'):
            raise ValueError(
                f'model.{setting} cannot call a part {name!r}. Take letters, '
                "digits and '_', without 'loss' (each value logged under "
                'such a name would be added to the total), and no method of '
                'mmengine.model.ModuleDict.')
    return ModuleDict(
        {name: MODELS.build(part)
         for name, part in parts.items()})
